"""The entrance for programs that speak OpenAI's HTTP interface: `/v1/chat/completions`, `/v1/responses`, `/v1/embeddings`, `/v1/models`."""

from omega.gateway.openai.entrance import entrance

__all__ = ["entrance"]
