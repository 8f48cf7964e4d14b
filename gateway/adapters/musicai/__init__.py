"""The Music AI job API as an upstream.

`client` implements the ports Upstream and Catalogue. `http` makes one bounded call and says whether a
failed request was certainly not sent. `codec` and `lenient_json` read the upstream's JSON.
`token_bucket` limits the rate of calls per credential.
"""
