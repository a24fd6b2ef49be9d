"""The next small world, designed in docs/small-world.md: questions, tokenizers and two models.

It takes the place of `tools.tiny_world`, which made what `tiny_world/` ships, when its models are.
"""
