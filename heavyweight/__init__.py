"""When is the heavyweight worth it? Ollama against vLLM, measured."""

__version__ = "0.1.0"
