"""One long stream by an official client, until it ends or the caller of this script ends it.

usage: long_stream.py openai|ollama|anthropic BASE_URL KEY MODEL REQUEST_ID
Prints "piece" for each piece; at the end "whole", or "error" with the exception that the client raised.
"""

import sys

flavour, base_url, key, model, request_id = sys.argv[1:]
MESSAGES = [{"role": "user", "content": "Once upon a time"}]
LONG = 2000


def by_openai():
    from openai import OpenAI

    client = OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0)
    extra = {"extra_headers": {"X-Request-Id": request_id}}
    return client.chat.completions.create(model=model, messages=MESSAGES, stream=True, max_tokens=LONG, **extra)


def by_ollama():
    from ollama import Client

    client = Client(host=base_url, headers={"Authorization": f"Bearer {key}", "X-Request-Id": request_id})
    return client.chat(model=model, messages=MESSAGES, stream=True, options={"num_predict": LONG})


def by_anthropic():
    from anthropic import Anthropic

    client = Anthropic(base_url=base_url, api_key=key, max_retries=0)
    extra = {"extra_headers": {"X-Request-Id": request_id}}
    return client.messages.create(model=model, messages=MESSAGES, stream=True, max_tokens=LONG, **extra)


try:
    for _ in {"openai": by_openai, "ollama": by_ollama, "anthropic": by_anthropic}[flavour]():
        print("piece", flush=True)
    print("whole", flush=True)
except Exception as error:  # whatever it is, it is what a program built on the client would get
    print(f"error {type(error).__name__}: {error}", flush=True)
