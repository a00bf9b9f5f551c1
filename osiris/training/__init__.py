"""From reviewed and settled ideas to LoRA adapters."""
