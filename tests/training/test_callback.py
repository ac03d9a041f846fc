"""The callback in a real Trainer: what is measured, logged and saved, and that training does not notice."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

import hf_affscore as ha
from hf_affscore.errors import AffscoreWarning, InputError, ModelError, SignatureError
from hf_affscore.signature import Record, Signature
from hf_affscore.training import History
from hf_affscore.training.callback import logged
from tests.training.networks import Images, Network, sample, trained

SUMMARY = {f"affinity/{name}" for name in ("mean", "median", "min", "max", "std")}


class Recorder(TrainerCallback):
    """What an integration such as TensorBoard's gets to see; the Trainer asks those first."""

    def __init__(self):
        self.seen = []

    def on_log(self, args, state, control, logs, **others):
        self.seen.append((state.global_step, dict(logs)))


def callback(**options):
    return ha.AffinityCallback(sample(), **{"num_samples": 20, **options})


def without_times(history):
    return [entry for entry in history if not any(name.startswith(("affinity/", "train_")) for name in entry)]


def test_training_does_not_notice(tmp_path):
    """Dropout, shuffling, augmentation from three generators; and a preprocessing that draws from all three."""

    def processor(image):
        noise = random.random() + float(np.random.rand()) + torch.rand(3, 10, 10)
        return torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1) / 255 + noise

    pixels = np.random.default_rng(0).integers(0, 255, (20, 10, 10, 3), dtype=np.uint8)
    images = [Image.fromarray(image) for image in pixels]
    observed = ha.AffinityCallback(images, num_samples=20, every_steps=4, processor=processor)
    alone, watched = trained(tmp_path / "alone"), trained(tmp_path / "watched", [observed])
    assert list(observed.history) == [0, 4, 8, 12, 16]
    expected, found = alone.model.state_dict(), watched.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert without_times(alone.state.log_history) == without_times(watched.state.log_history)
    first, second = (trainer.optimizer.state_dict()["state"] for trainer in (alone, watched))
    assert all(torch.equal(first[i]["exp_avg_sq"], second[i]["exp_avg_sq"]) for i in first)


def test_the_trainer_logs_every_measurement_to_everybody(tmp_path):
    recorder, observed = Recorder(), callback(every_steps=4)
    trainer = trained(tmp_path, [recorder, observed])
    seen = {step: logs for step, logs in recorder.seen if "affinity/mean" in logs}
    kept = {entry["step"]: entry for entry in trainer.state.log_history if "affinity/mean" in entry}
    assert list(seen) == list(kept) == list(observed.history)
    for step, signature in observed.history.items():
        first, second = signature.scores
        assert SUMMARY | {"affinity/stem.2", "affinity/(model)"} < seen[step].keys()
        assert (seen[step]["affinity/stem.2"], seen[step]["affinity/(model)"]) == (first, second)
        assert seen[step]["affinity/mean"] == kept[step]["affinity/mean"] == signature.scores.mean()
    assert [step for step, logs in recorder.seen if "loss" in logs] == [*range(2, 19, 2)]


def test_signatures_stand_beside_the_checkpoints(tmp_path):
    observed = callback(every_steps=9, at_start=False)
    trained(tmp_path, [observed])
    assert sorted(path.name for path in (tmp_path / "affinity").iterdir()) == ["step-000009", "step-000018"]
    assert dict(History.load(tmp_path / "affinity")) == dict(observed.history)
    assert observed.history[9].metadata["training"] == {"step": 9}


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, [0, 6, 12, 18]),
        ({"every_epochs": 2, "at_start": False}, [12]),
        ({"every_steps": 100}, [0]),
        ({"every_steps": np.int64(9)}, [0, 9, 18]),
    ],
)
def test_when_to_measure(tmp_path, options, steps):
    observed = callback(**options)
    trained(tmp_path, [observed])
    assert list(observed.history) == steps


def test_an_epoch_that_is_cut_short_is_an_epoch(tmp_path):
    observed = callback(every_epochs=2)
    trained(tmp_path, [observed], max_steps=9)
    assert list(observed.history) == [0, 9]


def test_another_training_in_the_same_folder_sets_the_first_one_aside(tmp_path):
    first, second = callback(every_steps=4), callback(every_steps=6)
    trained(tmp_path, [first])
    with pytest.warns(AffscoreWarning, match="held signatures of another training; they were moved to"):
        trained(tmp_path, [second], seed=1)
    assert dict(History.load(tmp_path / "affinity")) == dict(second.history)
    assert dict(History.load(tmp_path / "affinity" / "earlier-1")) == dict(first.history)
    with pytest.warns(AffscoreWarning, match="earlier-2"):
        trained(tmp_path, [first])  # one callback in a second Trainer begins again
    assert dict(History.load(tmp_path / "affinity")) == dict(first.history)
    assert dict(History.load(tmp_path / "affinity" / "earlier-2")) == dict(second.history)


def test_two_callbacks_of_one_trainer_need_two_names(tmp_path):
    noise = ha.AffinityCallback("noise", num_samples=20, every_steps=9, name="on-noise")
    with pytest.raises(InputError, match="Two AffinityCallbacks of this Trainer are named 'affinity'"):
        trained(tmp_path, [callback(), callback(), noise])
    trainer = trained(tmp_path, [callback(every_steps=6), noise])
    assert list(History.load(tmp_path / "affinity")) == [0, 6, 12, 18]
    assert list(History.load(tmp_path / "on-noise")) == [0, 9, 18]
    logged_names = {name for entry in trainer.state.log_history for name in entry}
    assert {"affinity/stem.2", "on-noise/stem.2"} < logged_names


@pytest.mark.parametrize(
    "settings",
    [
        {"bf16": True},
        {"gradient_accumulation_steps": 2},
        {"logging_strategy": "no"},
        {"torch_compile": True, "torch_compile_backend": "eager"},
        {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True},
    ],
    ids=["bf16", "accumulation", "no logging", "compiled", "best"],
)
def test_ways_to_train_change_neither_weights_nor_scores(tmp_path, settings):
    """The scores are those of the saved weights, also where the Trainer runs the network in bfloat16."""
    observed = callback(every_epochs=1)
    alone = trained(tmp_path / "alone", **settings)
    watched = trained(tmp_path / "watched", [observed], **settings)
    expected, found = alone.model.state_dict(), watched.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    network = Network()
    weights = watched.accelerator.unwrap_model(watched.model).state_dict()
    network.load_state_dict(weights)
    saved = ha.analyze(network, sample(), num_samples=20, shrinkage=False).rows
    if "load_best_model_at_end" in settings:
        assert saved in [signature.rows for signature in observed.history.values()]
    else:
        assert saved == observed.history[observed.history.last_step].rows


def test_an_adapted_network_with_checkpointed_gradients(tmp_path):
    """PEFT's wrapper takes everything as **kwargs."""
    from peft import LoraConfig, get_peft_model
    from transformers import ViTConfig, ViTForImageClassification

    weights = []
    for callbacks in ([], [callback(every_steps=2)]):
        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
        network = ViTForImageClassification(ViTConfig(image_size=10, patch_size=5, num_labels=3, **sizes))
        lora = LoraConfig(target_modules=["q_proj", "v_proj"], r=2, lora_dropout=0.2)
        adapted = get_peft_model(network, lora)
        trained(tmp_path, callbacks, network=adapted, num_train_epochs=1, gradient_checkpointing=True)
        weights.append(adapted.state_dict())
        assert any("lora_B" in name and tensor.any() for name, tensor in weights[-1].items())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert list(callbacks[0].history) == [0, 2, 4, 6]
    assert len(callbacks[0].history[6].rows) == 2


def test_broken_weights_do_not_stop_a_training(tmp_path):
    class Poison(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **others):
            if state.global_step == 3:
                torch.nn.init.constant_(model.stem[0].weight, float("nan"))

    recorder, observed = Recorder(), callback(every_steps=6)
    trained(tmp_path, [Poison(), recorder, observed])
    assert list(observed.history) == [0, 6, 12, 18]
    assert np.isnan(observed.history[6].scores).all()
    assert [step for step, logs in recorder.seen if "affinity/mean" in logs] == [0]  # nan is not logged


def test_what_was_measured_before_an_interruption_is_on_disk(tmp_path):
    class Interrupt(TrainerCallback):
        def on_step_end(self, args, state, control, **others):
            if state.global_step == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, [callback(every_steps=3), Interrupt()])
    assert list(History.load(tmp_path / "affinity")) == [0, 3, 6]


def test_evaluation_alone_measures_nothing(tmp_path):
    arguments = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, disable_tqdm=True)
    observed = callback()
    trainer = Trainer(Network(), arguments, eval_dataset=Images(), callbacks=[observed])
    assert "eval_loss" in trainer.evaluate()
    assert len(observed.history) == 0
    assert not (tmp_path / "affinity").exists()


def test_a_folder_that_cannot_be_written_is_found_before_the_first_step(tmp_path):
    (tmp_path / "affinity").write_text("a file")
    with pytest.raises(SignatureError, match=r"Signatures cannot be saved in .*affinity: .* output_dir"):
        trained(tmp_path, [callback(every_steps=9, at_start=False)])


def test_a_callback_that_joins_late_says_so(tmp_path):
    class Adding(TrainerCallback):
        def on_step_begin(self, args, state, control, **others):
            if state.global_step == 3:
                late.add_callback(callback(every_steps=2))

    first = trained(tmp_path)
    late = Trainer(Network(), first.args, train_dataset=first.train_dataset, callbacks=[Adding()])
    with pytest.raises(InputError, match="was added after training had begun"):
        late.train()


def test_rows_can_be_left_out_of_the_log(tmp_path):
    recorder = Recorder()
    trained(tmp_path, [recorder, callback(every_steps=18, at_start=False, log_rows=False)])
    (logs,) = [logs for _, logs in recorder.seen if "affinity/mean" in logs]
    assert {name for name in logs if name.startswith("affinity/")} == SUMMARY


@pytest.mark.parametrize("bar", [True, False])
def test_rows_are_logged_and_not_printed(tmp_path, bar, capsys):
    recorder = Recorder()
    trainer = trained(tmp_path, [recorder, callback(every_steps=18, at_start=False)], disable_tqdm=not bar)
    (logs,) = [logs for _, logs in recorder.seen if "affinity/mean" in logs]
    rows = {name for name in logs if name.startswith("affinity/")} - SUMMARY
    assert rows
    (entry,) = [entry for entry in trainer.state.log_history if "affinity/mean" in entry]
    assert rows <= entry.keys()
    printed = "".join(capsys.readouterr())
    assert "affinity/mean" in printed
    assert [name for name in rows if name in printed] == []


def test_names_in_the_log_are_unique_and_undefined_scores_are_left_out():
    calls = [("act", "relu", 0), ("act", "tanh", 0), ("act", "relu", 1), ("dead", "ReLU", 0)]
    rows = tuple(
        Record(module=module, activation=activation, call=call, affinity_score=score)
        for (module, activation, call), score in zip(calls, [0.1, 0.2, 0.3, float("nan")], strict=True)
    )
    values = logged(Signature(rows=rows, skipped=(), metadata={}))
    assert {name: value for name, value in values.items() if name not in SUMMARY} == {
        "affinity/act relu": 0.1,
        "affinity/act tanh": 0.2,
        "affinity/act #1": 0.3,
    }


def test_training_taken_up_again_measures_where_it_is_due(tmp_path):
    trained(tmp_path, [callback()], max_steps=6, save_strategy="steps", save_steps=6)
    observed = callback()
    first = trained(tmp_path, [])  # for its arguments and data
    trainer = Trainer(Network(), first.args, train_dataset=first.train_dataset, callbacks=[observed])
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert list(observed.history) == [12, 18]
    assert list(History.load(tmp_path / "affinity")) == [0, 6, 12, 18]


def test_steps_that_are_trained_again_replace_those_of_before(tmp_path):
    first = trained(tmp_path, [callback(every_steps=4)], save_strategy="steps", save_steps=6)
    observed = callback(every_steps=5)
    again = Trainer(Network(), first.args, train_dataset=first.train_dataset, callbacks=[observed])
    with pytest.warns(AffscoreWarning, match="moved to"):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert list(History.load(tmp_path / "affinity")) == [0, 4, 10, 15]
    assert list(History.load(tmp_path / "affinity" / "earlier-1")) == [8, 12, 16]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_steps": 1, "every_epochs": 1}, "both given"),
        ({"every_steps": 0}, "every_steps is 0; expected a whole number"),
        ({"every_epochs": 0.5}, "every_epochs is 0.5"),
        ({"every_steps": True}, "every_steps is True; expected a whole number"),
        ({"name": "../elsewhere"}, "name is '../elsewhere'; expected letters"),
        ({"num_samples": "all"}, "num_samples is 'all'; expected a number"),
        ({"keep_rows": "rows"}, "keep_rows is 'rows', which cannot apply: a training is measured many times"),
        ({"pooling": "max"}, "pooling is 'max'"),
    ],
)
def test_wrong_options_are_refused_before_training(options, message):
    with pytest.raises(InputError, match=message):
        callback(**options)


def test_a_misspelt_option_is_refused():
    with pytest.raises(TypeError, match="batchsize"):
        callback(batchsize=3)


def test_an_error_names_the_step_and_leaves_everything_as_it_was(tmp_path):
    images = list(torch.randn(20, 5, 10, 10))
    # The first batch goes in two of different sizes, and the first of them is what it failed on.
    with pytest.raises(ModelError, match=r"At step 0: Network failed on a batch .*\(8, 5, 10, 10\)"):
        trained(tmp_path, [ha.AffinityCallback(images, num_samples=20)])


def test_few_images_are_said_once(tmp_path):
    with pytest.warns(AffscoreWarning, match="has 20 usable images, fewer than num_samples = 512") as caught:
        trained(tmp_path, [ha.AffinityCallback(sample())])
    assert len([one for one in caught if "fewer than" in str(one.message)]) == 1


def test_outside_a_trainer_it_says_what_to_use(tmp_path):
    args = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    with pytest.raises(InputError, match="for your own training loop use track"):
        callback().on_train_begin(args, TrainerState(), TrainerControl(), model=Network())
