"""The official ollama client: one JSON line for each request, with the counts that it was given.

usage: ollama_calls.py BASE_URL KEY MODEL ID_PREFIX
"""

import json
import sys

from ollama import Client

base_url, key, model, prefix = sys.argv[1:]
# The same text each time, so that runs can be compared.
SAME = {"seed": 1, "temperature": 0}
CHAT = {
    "model": model,
    "messages": [{"role": "user", "content": "The three largest oceans are the Pacific, the Atlantic and"}],
    "options": {"num_predict": 16, **SAME},
}
TEXT = {
    "model": model,
    "prompt": "A gateway stands between a caller and",
    "options": {"num_predict": 11, **SAME},
}


def client(kind):
    return Client(host=base_url, headers={"Authorization": f"Bearer {key}", "X-Request-Id": f"{prefix}-{kind}"})


def tell(kind, text, last):
    line = {"kind": kind, "request_id": f"{prefix}-{kind}", "text": text}
    line["input"], line["output"] = last.prompt_eval_count, last.eval_count
    print(json.dumps(line), flush=True)


answer = client("chat").chat(**CHAT)
tell("chat", answer.message.content, answer)

pieces = list(client("chat-stream").chat(stream=True, **CHAT))
tell("chat-stream", "".join(piece.message.content for piece in pieces), pieces[-1])

answer = client("generate").generate(**TEXT)
tell("generate", answer.response, answer)

pieces = list(client("generate-stream").generate(stream=True, **TEXT))
tell("generate-stream", "".join(piece.response for piece in pieces), pieces[-1])
