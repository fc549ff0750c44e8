"""The refusal direction: what a refusal looks like, the candidates, their scores, and the rule that chooses one."""
