"""The openai backend. Only this folder imports the OpenAI SDK."""
