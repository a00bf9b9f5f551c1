"""A server on loopback that does what OpenAI's protocol leaves open, as several servers do it, with a real model.

vLLM, SGLang and llama.cpp cannot be had everywhere. This server reads their parameters and binds its answers with
`llguidance`, and tells probabilities in the form of vLLM or of llama.cpp. What it does not know it ignores, as they do.
"""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import llguidance
import llguidance.hf
import torch
from llguidance.gbnf_to_lark import gbnf_to_lark

from osiris.llm.completion import stop_token_ids

FORMS = {
    "structured_outputs": lambda value: llguidance.LLMatcher.grammar_from_regex(value["regex"]),
    "guided_regex": llguidance.LLMatcher.grammar_from_regex,
    "regex": llguidance.LLMatcher.grammar_from_regex,
    "grammar": lambda value: llguidance.LLMatcher.grammar_from_lark(gbnf_to_lark(value)),
}


class BoundModel:
    """Continues one text, bound or not, and tells the likeliest tokens of each place."""

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        self.stops = stop_token_ids(model, tokenizer)
        self.words = llguidance.hf.from_tokenizer(tokenizer, n_vocab=model.config.vocab_size, eos_token=self.stops)

    def write(self, body, grammar):
        ids = self.tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]
        matcher = llguidance.LLMatcher(self.words, grammar) if grammar else None
        draw, written, told = torch.Generator().manual_seed(body.get("seed", 0)), [], []
        for _ in range(body["max_tokens"]):
            with torch.inference_mode():
                scores = self.model(input_ids=torch.tensor([ids + written])).logits[0, -1].float()
            told.append(scores.log_softmax(-1).topk(min(body.get("logprobs") or 1, len(scores))))
            if matcher:
                bits = torch.tensor(list(matcher.compute_bitmask()), dtype=torch.uint8)
                allowed = (bits[:, None] >> torch.arange(8) & 1).bool().flatten()[: len(scores)]
                scores = scores.masked_fill(~allowed, float("-inf"))
            if body["temperature"]:
                token = int(torch.multinomial((scores / body["temperature"]).softmax(-1), 1, generator=draw))
            else:
                token = int(scores.argmax())
            if token in self.stops or (matcher and matcher.is_stopped()):
                return written, told, "stop"
            written.append(token)
            if matcher:
                matcher.consume_token(token)
                if matcher.is_stopped():
                    return written, told, "stop"
        return written, told, "length"

    def answer(self, body, constraint, style, most):
        if (body.get("logprobs") or 0) > most:
            return 400, {"error": {"message": f"logprobs of at most {most}"}}
        grammar = FORMS[constraint](body[constraint]) if constraint in body else None
        written, told, ended = self.write(body, grammar)
        choice = {"index": 0, "text": self.tokenizer.decode(written), "finish_reason": ended, "logprobs": None}
        if body.get("logprobs") and style:
            places = [
                {
                    self.tokenizer.decode([token]): value
                    for value, token in zip(*map(torch.Tensor.tolist, top), strict=True)
                }
                for top in told
            ]
            choice["logprobs"] = (
                {"tokens": [], "token_logprobs": [], "text_offset": [], "top_logprobs": places}
                if style == "vllm"
                else {"content": [
                    {"token": "", "top_logprobs": [{"token": one, "logprob": place[one]} for one in place]}
                    for place in places
                ]}
            )  # fmt: skip
        return 200, {"id": "1", "object": "text_completion", "created": 0, "model": body["model"], "choices": [choice]}


@contextmanager
def bound_server(bound, constraint=None, style=None, most=1000):
    """Serve a `BoundModel`; gives the address and the list of the bodies of all requests."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            status, said = bound.answer(body, constraint, style, most)
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
