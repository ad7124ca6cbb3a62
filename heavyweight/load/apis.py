from dataclasses import dataclass


@dataclass(frozen=True)
class Api:
    path: str = "/v1/chat/completions"
    stream_types: tuple = ("text/event-stream",)
    mark: bytes = b"data: "

    def body(self, model, prompt, output_tokens, extra):
        return {
            "model": model,
            "messages": prompt.messages,
            "max_tokens": output_tokens,
            "temperature": 0,
            "top_p": 1,
            "stream": True,
            "stream_options": {"include_usage": True},
            **extra,
        }


def api_for(name):
    return Api()
