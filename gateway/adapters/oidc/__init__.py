"""An OpenID Connect provider that staff sign in with; imported only if the settings name one."""
