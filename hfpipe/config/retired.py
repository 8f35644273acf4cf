"""Names people know from older versions, example scripts and other tools.

A name whose successor means the same is read as the successor and a word is logged; any other is an error that says
what to use. Nothing is translated whose value would have to change as well.
"""

from collections.abc import Mapping

SUCCESSORS: Mapping[str, str] = {
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu",
    "warmup_ratio": "warmup_steps",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "train_batch_size": "per_device_train_batch_size",
    "eval_batch_size": "per_device_eval_batch_size",
    "batch_size": "per_device_train_batch_size",
    "lr": "learning_rate",
    "lr_scheduler": "lr_scheduler_type",
    "optimizer": "optim",
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "max_train_steps": "max_steps",
    "random_seed": "seed",
    "label_smoothing": "label_smoothing_factor",
    "model": "model_name_or_path",
    "model_name": "model_name_or_path",
    "model_id": "model_name_or_path",
    "revision": "model_revision",
    "tokenizer": "tokenizer_name",
    "torch_dtype": "dtype",
    "max_length": "max_seq_length",
    "max_seq_len": "max_seq_length",
    "dataset": "dataset_name",
    "text_column": "text_column_names",
    "text_column_name": "text_column_names",
    "label_column": "label_column_name",
    "label_column_names": "label_column_name",
    "delimiter": "field_delimiter",
    "max_test_samples": "max_predict_samples",
    "dataset_config": "dataset_config_name",
    "dataset_train_split": "train_split_name",
    "dataset_test_split": "test_split_name",
    "dataset_streaming": "streaming",
    "lora_rank": "lora_r",
    "text_columns_delimiter": "text_column_delimiter",
}

# Since transformers 5.23 these are aliases with a warning; before, they are the only names there are.
CHECKPOINTING: Mapping[str, str] = {
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}

EXPLAINED: Mapping[str, str] = {
    "overwrite_output_dir": "is gone from transformers; write fresh_start: true to move an earlier run aside",
    "logging_dir": "is gone from transformers; set TENSORBOARD_LOGGING_DIR in the environment",
    "group_by_length": "is gone from transformers; rows are drawn in an order that the seed decides, leave it out",
    "save_safetensors": "is gone from transformers; weights are always saved as safetensors, leave it out",
    "include_tokens_per_second": "is gone from transformers; metrics.json has the samples per second, leave it out",
    "include_inputs_for_metrics": "is gone from transformers; leave it out",
    "half_precision_backend": "is gone from transformers; write bf16 or fp16 alone",
    "fp16_opt_level": "belonged to apex; write bf16 or fp16 alone",
    "fp16_backend": "belonged to apex; write bf16 or fp16 alone",
    "tpu_num_cores": "is gone from transformers; the launcher decides the number of processes",
    "use_mps_device": "is gone from transformers; the device is found by itself",
    "jit_mode_eval": "is gone from transformers; use torch_compile",
    "use_ipex": "is gone from transformers; use bf16 and torch_compile",
    "push_to_hub_token": "is saved in clear with the run; put it into the environment as HF_TOKEN",
    "token": "would be saved in clear with the run; put it into the environment as HF_TOKEN",
    "use_auth_token": "would be saved in clear with the run; put it into the environment as HF_TOKEN",
    "overwrite_cache": "does nothing here; leave it out",
    "preprocessing_num_workers": "does nothing here; leave it out",
    "use_fast_tokenizer": "does nothing here; tokenizers are always the fast ones, leave it out",
    "low_cpu_mem_usage": "does nothing here; leave it out",
    "pad_to_max_length": "does nothing here; a batch is padded to its longest text, leave it out",
    "validation_split_percentage": "is in percent; write a share as validation_fraction: 0.05",
    "task_name": "names a task of GLUE; write dataset_name: nyu-mll/glue and dataset_config_name",
    "do_regression": "is said by the problem; write problem_type: regression",
    "metric_name": "does nothing here; every metric is reported, choose by metric_for_best_model",
    "config_name": "does nothing here; use model_type and config_overrides",
}
