"""Classifiers for other people's programs: Hugging Face folders, PEFT adapters, ONNX and GGUF."""
