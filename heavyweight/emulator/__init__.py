"""A server with known timing that speaks the wire formats of Ollama and of vLLM.

It calibrates the instrument and tests the code. What it says is never evidence about a server.
"""
