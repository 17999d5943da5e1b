"""Which question to ask next, and the interview that asks it."""

from pluralign.elicitation.information import information_gain, next_question
from pluralign.elicitation.loop import Answering, Interview, interview

__all__ = ["Answering", "Interview", "information_gain", "interview", "next_question"]
