"""Files in, texts and token ids out: reading, checking, splitting, tokenizing, batching."""
