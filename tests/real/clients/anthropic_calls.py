"""The official anthropic client: one JSON line for each request, with the counts that it was given.

usage: anthropic_calls.py BASE_URL KEY MODEL ID_PREFIX
"""

import json
import sys

from anthropic import Anthropic

base_url, key, model, prefix = sys.argv[1:]
client = Anthropic(base_url=base_url, api_key=key, max_retries=0, timeout=60)
# The same text each time, so that runs can be compared.
SAME = {"model": model, "max_tokens": 13, "extra_body": {"temperature": 0}}
MESSAGES = [{"role": "user", "content": "The three largest oceans are the Pacific, the Atlantic and"}]


def sent(kind):
    return {"extra_headers": {"X-Request-Id": f"{prefix}-{kind}"}}


def tell(kind, message):
    line = {"kind": kind, "request_id": f"{prefix}-{kind}"}
    line["text"] = "".join(block.text for block in message.content)
    usage = message.usage
    # This API counts apart what came from a cache; the whole input is what the other dialects call it.
    line["input"] = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    line["output"] = usage.output_tokens
    print(json.dumps(line), flush=True)


tell("messages", client.messages.create(messages=MESSAGES, **SAME, **sent("messages")))

with client.messages.stream(messages=MESSAGES, **SAME, **sent("messages-stream")) as stream:
    tell("messages-stream", stream.get_final_message())
