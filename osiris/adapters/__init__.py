"""LoRA adapters on disk and in MLflow: published, checked, served and compared."""
