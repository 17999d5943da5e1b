"""Which question to ask next, and the interview that asks it."""

from pluralign.elicitation.active import Active
from pluralign.elicitation.information import information_gain, next_question
from pluralign.elicitation.loop import Interview, interview
from pluralign.raters.asking import Answering

__all__ = ["Active", "Answering", "Interview", "information_gain", "interview", "next_question"]
