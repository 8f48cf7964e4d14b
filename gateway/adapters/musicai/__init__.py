"""The Music AI job API as an upstream."""
