"""Webhooks without input or output: signatures, headers, the SSRF rules, the judgement of a reply."""
