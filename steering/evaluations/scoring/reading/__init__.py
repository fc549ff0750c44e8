"""Reading free English: what an answer says about a claim, and whether it refuses a request. Rules, no model."""
