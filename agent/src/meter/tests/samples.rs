//! Answers in the shapes that real engines were seen to give.

use super::*;

pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) wire: Wire,
    pub(super) hide: bool,
    pub(super) text: &'static str,
    /// Events that the client does not get.
    pub(super) hidden: &'static [&'static str],
    /// The last bytes of this text are the ones that complete the answer.
    pub(super) marker: &'static str,
    pub(super) reading: Reading,
}

impl Sample {
    pub(super) fn visible(&self) -> String {
        self.hidden.iter().fold(self.text.to_owned(), |text, event| text.replace(event, ""))
    }
}

const fn counts(input: u64, output: u64, deltas: u64) -> Reading {
    Reading { input: Some(input), output: Some(output), cached_input: None, deltas, engine_error: false }
}

pub(super) const OLLAMA_OPENAI: &str = concat!(
    "data: {\"id\":\"chatcmpl-260\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"tiny\",\"system_fingerprint\":\"fp_ollama\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hel\\u006co\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"chatcmpl-260\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"tiny\",\"system_fingerprint\":\"fp_ollama\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\" é😀\\ud83d\\ude00 \\\"usage\\\":{\\\"prompt_tokens\\\":99} data: [DONE]\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"chatcmpl-260\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"tiny\",\"system_fingerprint\":\"fp_ollama\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"chatcmpl-260\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"tiny\",\"system_fingerprint\":\"fp_ollama\",\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":5,\"total_tokens\":7}}\n\n",
    "data: [DONE]\n\n",
);

pub(super) const OLLAMA_OPENAI_USAGE: &str = "data: {\"id\":\"chatcmpl-260\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"tiny\",\"system_fingerprint\":\"fp_ollama\",\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":5,\"total_tokens\":7}}\n\n";

pub(super) const ANTHROPIC: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"tiny\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":2,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hel\\n\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"event: message_stop\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\",\"stop_sequence\":null},\"usage\":{\"input_tokens\":2,\"output_tokens\":3}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

pub(super) const OLLAMA_CHAT: &str = concat!(
    "{\"model\":\"tiny\",\"created_at\":\"2026-11-21T10:00:00.1Z\",\"message\":{\"role\":\"assistant\",\"content\":\"Hé😀\\u00e9\"},\"done\":false}\n",
    "{\"model\":\"tiny\",\"created_at\":\"2026-11-21T10:00:00.2Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\\\"done\\\":true\"},\"done\":false}\n",
    "{\"model\":\"tiny\",\"created_at\":\"2026-11-21T10:00:00.3Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"n\":-1.5e3,\"m\":[1,2.5,[3],null,true]}}}]},\"done\":false}\n",
    "{\"model\":\"tiny\",\"created_at\":\"2026-11-21T10:00:00.4Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"length\",\"total_duration\":1638684071,\"load_duration\":917918664,\"prompt_eval_count\":2,\"prompt_eval_duration\":119669901,\"eval_count\":8,\"eval_duration\":531339890}\n",
);

pub(super) const SAMPLES: &[Sample] = &[
    Sample {
        name: "Ollama, OpenAI stream, usage asked for",
        wire: Wire::OpenAiChat,
        hide: false,
        text: OLLAMA_OPENAI,
        hidden: &[],
        marker: "]\n\n",
        reading: counts(2, 5, 2),
    },
    Sample {
        name: "Ollama, OpenAI stream, usage hidden",
        wire: Wire::OpenAiChat,
        hide: true,
        text: OLLAMA_OPENAI,
        hidden: &[OLLAMA_OPENAI_USAGE],
        marker: "]\n\n",
        reading: counts(2, 5, 2),
    },
    Sample {
        name: "Ollama, completions: zeros in every chunk",
        wire: Wire::OpenAiText,
        hide: true,
        text: concat!(
            "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"choices\":[{\"text\":\"a\",\"index\":0,\"finish_reason\":null}],\"model\":\"tiny\",\"system_fingerprint\":\"fp_ollama\",\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}}\n\n",
            "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":\"stop\"}],\"model\":\"tiny\",\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":1,\"total_tokens\":5}}\n\n",
            "data: [DONE]\n\n",
        ),
        hidden: &[
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":1,\"total_tokens\":5}}\n\n",
        ],
        marker: "]\n\n",
        reading: counts(4, 1, 1),
    },
    Sample {
        name: "vLLM: usage in every chunk, cached tokens, CRLF, comments",
        wire: Wire::OpenAiChat,
        hide: true,
        text: concat!(
            ": ping\r\n\r\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null}],\"usage\":{\"prompt_tokens\":31,\"total_tokens\":31,\"completion_tokens\":0}}\r\n\r\n",
            "id: 7\r\nretry: 3\r\ndata:{\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}],\"usage\":{\"prompt_tokens\":31,\"total_tokens\":32,\"completion_tokens\":1}}\r\n\r\n",
            "data: {\"usage\":null,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\r\n\r\n",
            "data: {\"id\":\"c\",\"usage\":{\"prompt_tokens\":31,\"total_tokens\":33,\"completion_tokens\":2,\"prompt_tokens_details\":{\"audio\":null,\"cached_tokens\":16}},\"choices\":[]}\r\n\r\n",
            "data: [DONE]\r\n\r\n",
        ),
        hidden: &[
            "data: {\"id\":\"c\",\"usage\":{\"prompt_tokens\":31,\"total_tokens\":33,\"completion_tokens\":2,\"prompt_tokens_details\":{\"audio\":null,\"cached_tokens\":16}},\"choices\":[]}\r\n\r\n",
        ],
        marker: "]\r\n",
        reading: Reading { cached_input: Some(16), ..counts(31, 2, 2) },
    },
    Sample {
        name: "llama.cpp: timings",
        wire: Wire::OpenAiChat,
        hide: false,
        text: concat!(
            "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}],\"created\":1,\"id\":\"c\",\"model\":\"m\",\"system_fingerprint\":\"b1\",\"object\":\"chat.completion.chunk\"}\n\n",
            "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"Hi\"}}],\"created\":1,\"id\":\"c\",\"model\":\"m\",\"object\":\"chat.completion.chunk\"}\n\n",
            "data: {\"choices\":[],\"created\":1,\"id\":\"c\",\"model\":\"m\",\"object\":\"chat.completion.chunk\",\"usage\":{\"completion_tokens\":1,\"prompt_tokens\":12,\"total_tokens\":13},\"timings\":{\"prompt_n\":12,\"prompt_ms\":42.5}}\n\n",
            "data: [DONE]\n\n",
        ),
        hidden: &[],
        marker: "]\n\n",
        reading: counts(12, 1, 1),
    },
    Sample {
        name: "Anthropic stream",
        wire: Wire::Anthropic,
        hide: false,
        text: ANTHROPIC,
        hidden: &[],
        marker: "}\n\n",
        reading: counts(2, 3, 2),
    },
    Sample {
        name: "Ollama chat",
        wire: Wire::OllamaChat,
        hide: false,
        text: OLLAMA_CHAT,
        hidden: &[],
        marker: "}\n",
        reading: counts(2, 8, 2),
    },
    Sample {
        name: "Ollama generate, with its context",
        wire: Wire::OllamaGenerate,
        hide: false,
        text: "{\"model\":\"tiny\",\"response\":\"a\",\"done\":false}\n{\"model\":\"tiny\",\"response\":\"\",\"done\":true,\"done_reason\":\"stop\",\"context\":[1,22,333],\"prompt_eval_count\":2,\"eval_count\":1}\n",
        hidden: &[],
        marker: "}\n",
        reading: counts(2, 1, 1),
    },
    Sample {
        name: "Ollama load: no counts",
        wire: Wire::OllamaGenerate,
        hide: false,
        text: "{\"model\":\"tiny\",\"created_at\":\"x\",\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}\n",
        hidden: &[],
        marker: "}\n",
        reading: Reading { input: None, output: None, cached_input: None, deltas: 0, engine_error: false },
    },
    Sample {
        name: "Ollama chat, whole",
        wire: Wire::Json(Dialect::Ollama),
        hide: false,
        text: "{\"model\":\"tiny\",\"message\":{\"role\":\"assistant\",\"content\":\"12345\"},\"done\":true,\"done_reason\":\"length\",\"prompt_eval_count\":2,\"eval_count\":8}",
        hidden: &[],
        marker: "}",
        reading: counts(2, 8, 2),
    },
    Sample {
        name: "OpenAI chat, whole and pretty",
        wire: Wire::Json(Dialect::OpenAi),
        hide: false,
        text: "{\n  \"id\": \"chatcmpl-260\",\n  \"choices\": [ { \"message\": { \"content\": \"\\\"usage\\\": 1\" } } ],\n  \"usage\": {\n    \"prompt_tokens\": 2,\n    \"completion_tokens\": 5,\n    \"total_tokens\": 7\n  }\n}\n",
        hidden: &[],
        marker: "}\n",
        reading: counts(2, 5, 3),
    },
    Sample {
        name: "Anthropic messages, whole, with cache",
        wire: Wire::Json(Dialect::Anthropic),
        hide: false,
        text: "{\"id\":\"msg_1\",\"type\":\"message\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}],\"usage\":{\"input_tokens\":2,\"cache_read_input_tokens\":10,\"cache_creation_input_tokens\":3,\"output_tokens\":5}}",
        hidden: &[],
        marker: "}",
        reading: Reading { cached_input: Some(10), ..counts(15, 5, 1) },
    },
    Sample {
        name: "embeddings",
        wire: Wire::Json(Dialect::Ollama),
        hide: false,
        text: "{\"model\":\"e\",\"embeddings\":[[0.1,-2.5e-3, 1,\n2 ],[ ],[3,[4,\"]\"],{\"eval_count\":5},6]],\"total_duration\":14,\"prompt_eval_count\":7}",
        hidden: &[],
        marker: "}",
        reading: Reading { input: Some(7), output: None, cached_input: None, deltas: 0, engine_error: false },
    },
];
