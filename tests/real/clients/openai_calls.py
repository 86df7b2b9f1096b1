"""The official openai client: one JSON line for each request, with the counts that it was given.

usage: openai_calls.py BASE_URL KEY MODEL ID_PREFIX
"""

import json
import sys

from openai import OpenAI

base_url, key, model, prefix = sys.argv[1:]
client = OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=60)
MESSAGES = [{"role": "user", "content": "The three largest oceans are the Pacific, the Atlantic and"}]
PROMPT = "A gateway stands between a caller and"
# The same text each time, so that runs can be compared.
SAME = {"model": model, "seed": 1, "temperature": 0}
CHAT = {"messages": MESSAGES, "max_tokens": 16, **SAME}
TEXT = {"prompt": PROMPT, "max_tokens": 11, **SAME}


def sent(kind):
    return {"extra_headers": {"X-Request-Id": f"{prefix}-{kind}"}}


def tell(kind, text, usage):
    counts = usage and (usage.prompt_tokens, usage.completion_tokens)
    line = {"kind": kind, "request_id": f"{prefix}-{kind}", "text": text}
    line["input"], line["output"] = counts or (None, None)
    print(json.dumps(line), flush=True)


def chat():
    answer = client.chat.completions.create(**CHAT, **sent("chat"))
    tell("chat", answer.choices[0].message.content, answer.usage)


def chat_stream(kind, options):
    text, usage = "", None
    for chunk in client.chat.completions.create(stream=True, **options, **CHAT, **sent(kind)):
        usage = chunk.usage or usage
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
    tell(kind, text, usage)


def completion():
    answer = client.completions.create(**TEXT, **sent("completion"))
    tell("completion", answer.choices[0].text, answer.usage)


def completion_stream():
    text, usage = "", None
    options = {"stream_options": {"include_usage": True}}
    for chunk in client.completions.create(stream=True, **options, **TEXT, **sent("completion-stream")):
        # Ollama sends zeros along with each piece; the last one is real.
        usage = chunk.usage or usage
        text += "".join(choice.text for choice in chunk.choices)
    tell("completion-stream", text, usage)


chat()
chat_stream("chat-stream", {"stream_options": {"include_usage": True}})
chat_stream("chat-stream-unasked", {})
completion()
completion_stream()
