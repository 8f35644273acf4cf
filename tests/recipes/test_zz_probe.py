import json
import pytest, yaml
from test_sharded import *
from conftest import run_recipe_here
from test_lora import lora_settings, three_labels_csv
def zero(tmp_path, stage, **more):
    file = tmp_path / "zero.yaml"
    j = tmp_path/"ds.json"
    j.write_text(json.dumps({"zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 0}, "train_micro_batch_size_per_gpu":"auto","gradient_accumulation_steps":"auto","gradient_clipping":"auto","bf16":{"enabled":"auto"}, **more}))
    fields = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "DEEPSPEED", "deepspeed_config": {"deepspeed_config_file": str(j), "zero3_init_flag": False}}
    file.write_text(yaml.safe_dump({**fields, "num_processes": WORLD, "use_cpu": True}))
    return [*ACCELERATE, "--config_file", str(file)]
def lm(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"line {index} of a corpus of words, {index * index}\n" for index in range(40)))
    settings = {**language_model_settings(corpus), "logging_steps": 1, "save_strategy": "steps", "save_steps": 2}
    settings |= {"per_device_train_batch_size": 2, "sample_prompts": "line", "config_overrides": "hidden_size=32,intermediate_size=48,num_hidden_layers=2"}
    return settings
@pytest.mark.parametrize("bf16", ["false","true"])
def test_lm(bf16, tmp_path):
    settings = {**lm(tmp_path), "bf16": bf16}
    plain = two_processes_of("pretrain_causal_lm")
    launch(plain, {**settings, "use_cpu": "true", "output_dir": tmp_path / "plain"}, {})
    cmd=[*zero(tmp_path,3), "recipes/pretrain_causal_lm.py"]
    settings["output_dir"]=tmp_path/"sharded"
    launch(cmd, settings, {"DS_ACCELERATOR":"cpu"})
    a,b=losses_of(tmp_path/"plain"), losses_of(tmp_path/"sharded")
    print("DIFF", bf16, max(abs(x-y)/abs(x) for x,y in zip(a,b)), a[:2], b[:2])
    before = outcome(tmp_path / "sharded")
    forget_the_end(tmp_path / "sharded")
    launch(cmd, settings, {"DS_ACCELERATOR":"cpu"})
    after= outcome(tmp_path/"sharded")
    print("SAME", [x==y for x,y in zip(before,after)])
    assert after == before
@pytest.mark.parametrize("stage", [2,3])
def test_guard(stage, tmp_path, checkpoints, reviews_csv):
    settings = classifier_settings(reviews_csv(44), checkpoints("bert")) | {"learning_rate": 10, "optim":"sgd", "max_grad_norm": 0, "config_overrides": "initializer_range=1e18", "output_dir": tmp_path/"x"}
    process = subprocess.Popen([*zero(tmp_path,stage), "recipes/finetune_classifier.py", *to_argv(settings)], cwd=ROOT, env={**ENVIRONMENT,"DS_ACCELERATOR":"cpu"}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    code, output = finish(process, seconds=200)
    print("GUARD", stage, code, [l for l in output.splitlines() if "step" in l or "Traceback" in l or "rror" in l][:20])
    assert "was not made" in output
