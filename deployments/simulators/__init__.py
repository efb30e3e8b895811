"""Simulators of the services that cost money: OpenAI's and Azure's fine-tuning, Vertex's tuning, and storage beside it.

They keep state, check what they are sent as the providers do, move jobs by a clock, and can be made to fail on every
route, before or after the effect. They listen on this machine only, and every answer says that a simulator gave it.
They train nothing: losses and answers are made up, and prove nothing but that the way to a provider works.
"""
