from hypothesis import settings

# A slow machine is no defect.
settings.register_profile("gateway", deadline=None)
settings.load_profile("gateway")
