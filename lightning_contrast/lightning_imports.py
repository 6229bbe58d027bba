"""Lightning, or one sentence why it cannot be imported. Rooms that need it import this first."""

try:
    import lightning.pytorch  # noqa: F401
    import torchmetrics  # noqa: F401
except Exception as error:
    from lightning_contrast.broken_torchvision import torchvision_failed

    if told := torchvision_failed(error):
        raise ImportError(told) from None
    raise
