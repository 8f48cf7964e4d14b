"""Sign-in of staff at an identity provider: roles, names, and the state of one attempt."""
