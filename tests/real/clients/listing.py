"""What the official clients show of the models, and how they take a model that is not there: one JSON object.

usage: listing.py BASE_URL KEY MODEL
"""

import json
import sys

import ollama
import openai

base_url, key, model = sys.argv[1:]
native = ollama.Client(host=base_url, headers={"Authorization": f"Bearer {key}"})
compatible = openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0)
seen = {
    "ollama_list": sorted(one.model for one in native.list().models),
    "ollama_show": native.show(model).details.family,
    "ollama_ps": sorted(one.model for one in native.ps().models),
    "openai_models": sorted(one.id for one in compatible.models.list()),
}
try:
    native.chat(model="nope", messages=[{"role": "user", "content": "x"}])
except ollama.ResponseError as error:
    seen["ollama_unknown"] = [error.status_code, error.error]
try:
    compatible.chat.completions.create(model="nope", messages=[{"role": "user", "content": "x"}])
except openai.NotFoundError as error:
    seen["openai_unknown"] = [error.status_code, error.body["message"]]
print(json.dumps(seen))
