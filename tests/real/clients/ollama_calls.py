"""The official ollama client: one JSON line for each request, with the counts that it was given.

usage: ollama_calls.py BASE_URL KEY MODEL ID_PREFIX
"""

import json
import sys

from ollama import Client

base_url, key, model, prefix = sys.argv[1:]
# The same text each time, so that runs can be compared.
SAME = {"model": model, "options": {"seed": 1, "temperature": 0, "num_predict": 16}}
MESSAGES = [{"role": "user", "content": "The three largest oceans are the Pacific, the Atlantic and"}]
PROMPT = "A gateway stands between a caller and"


def client(kind):
    return Client(host=base_url, headers={"Authorization": f"Bearer {key}", "X-Request-Id": f"{prefix}-{kind}"})


def tell(kind, text, last):
    line = {"kind": kind, "request_id": f"{prefix}-{kind}", "text": text}
    line["input"], line["output"] = last.prompt_eval_count, last.eval_count
    print(json.dumps(line), flush=True)


answer = client("chat").chat(messages=MESSAGES, **SAME)
tell("chat", answer.message.content, answer)

pieces = list(client("chat-stream").chat(messages=MESSAGES, stream=True, **SAME))
tell("chat-stream", "".join(piece.message.content for piece in pieces), pieces[-1])

answer = client("generate").generate(prompt=PROMPT, **SAME)
tell("generate", answer.response, answer)

pieces = list(client("generate-stream").generate(prompt=PROMPT, stream=True, **SAME))
tell("generate-stream", "".join(piece.response for piece in pieces), pieces[-1])
