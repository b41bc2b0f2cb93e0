"""The manual for agents: its text, where each agent looks for it, and putting it there safely."""
