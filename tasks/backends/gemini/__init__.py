"""The gemini backend. Only this folder imports google-genai."""
