"""Policies straight from answers, without a reward: contrastive preference learning and the DPO family."""
