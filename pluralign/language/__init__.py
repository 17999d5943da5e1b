"""Language: every text encoded once, every rater a taste over its representation.

`transformers` and `peft` are loaded when a backbone is; the heads and the choice of answers need neither.
"""
