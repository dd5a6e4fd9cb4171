"""OpenAI's HTTP interface, read and written: chat completions, responses, embeddings, the list of models, errors
(platform.openai.com/docs/api-reference). Pure: from JSON values to the questions of `models.chat` and `models.embed`, and back."""
