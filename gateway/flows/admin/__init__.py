"""Administration: tenants, access keys, master keys, the audit."""
