"""The group-relative step by TRL's GRPOTrainer: answers, returns and the camps' weights are ours, the step is theirs.

TRL (https://github.com/huggingface/trl) asks for the answers of a step and for their rewards; both are given from outside,
so that weights over camps move with returns as in `online`. Its loss with `dapo` (tokens of all answers count alike) and the
pull back to the reference are the same formula.
"""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pluralign.language.likelihood import answer_log_probs
from pluralign.language.needs import need
from pluralign.language.processes import Processes
from pluralign.language.steps import Row, Steps
from pluralign.language.writer import Writer, Written, moving
from pluralign.streams import quiet_globals

Asked = Callable[[int, Sequence[int]], tuple[Written, Tensor, Row]]


def tuned_by_trl(
    settings: Any,
    loop: Steps,
    writer: Writer,
    reference: Writer,
    prompts: Sequence[str],
    asked: Asked,
    seed: int,
    progress: Callable[[int], Any] | None = None,
) -> list[Row]:
    """Tune `writer` in place; one row for each step.

    Args:
        settings: of `Online`: prompts, answers, epochs, clip, scale, at_once.
        loop: steps, rate, momentum and the share of late weights that are averaged.
        writer: a tunable one. reference: the one it is pulled to.
        prompts: P texts.
        asked: the number of a step and places of prompts to answers, their rewards (prompts, answers) and a row.
        seed: of the order of prompts.
        progress: told 1 after each step.

    Raises:
        ImportError: TRL is not installed.
        ValueError: there are several processes.
    """
    trl, transformers, datasets = need("trl", "trl"), need("transformers"), need("datasets", "trl")
    if Processes.here().count > 1:
        raise ValueError("TRL takes the steps of one process here; leave --trainer trl out to share them.")
    weights, rows = moving(writer), list[Row]()
    mean = [torch.zeros_like(value) for value in weights]
    late = loop.updates - round(loop.average * loop.updates)

    def rollout(some: list[str], trainer: Any) -> dict[str, Any]:
        place = [known[text] for text in some[:: settings.answers]]
        written, reward, row = asked(len(rows), place)
        pieces = written.pieces
        with torch.no_grad():
            mine, base = (answer_log_probs(one.model, pieces, padding=writer.padding, at_once=settings.at_once) for one in (writer, reference))  # fmt: skip
        rows.append({"step": len(rows), "kl": float((mine - base).mean()), **row})
        return {
            "prompt_ids": [list(one.prompt) for one in pieces],
            "completion_ids": [list(one.answer) for one in pieces],
            "logprobs": None,
            "worth": reward.reshape(-1).tolist(),
        }

    class Late(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
        """Averages the weights of the last steps, as the loop of the package does."""

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step % settings.epochs:
                return
            if len(rows) > late:
                for whole, value in zip(mean, weights, strict=True):
                    whole.add_(value.detach(), alpha=1 / (loop.updates - late))
            if progress is not None:
                progress(1)

    known = {text: k for k, text in enumerate(prompts)}
    size, parts = settings.prompts * settings.answers, 1
    longest = (
        max(len(one.prompt) for one in writer.pieces(prompts, [""] * len(prompts), say=False)) + writer.most
    )
    while size % parts or (size // parts * longest > settings.at_once and parts < size):
        parts += 1
    body = writer.model.get_base_model() if hasattr(writer.model, "get_base_model") else writer.model
    name = body.config._name_or_path
    adam = torch.optim.AdamW(weights, lr=loop.rate, betas=(loop.momentum, 0.999), weight_decay=0.0)
    pace = torch.optim.lr_scheduler.LambdaLR(adam, lambda k: 1 - 0.9 * (k // settings.epochs) / loop.updates)
    with quiet_globals(), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that giving answers from outside is an experiment of TRL's
        if body is writer.model and settings.scale:
            # TRL reads the reference from where the model says that it came from; adapters it switches off instead.
            reference.model.save_pretrained(folder)
            body.config._name_or_path = folder
        trainer = trl.GRPOTrainer(
            model=writer.model,
            reward_funcs=lambda worth, **_: worth,
            args=trl.GRPOConfig(
                output_dir=folder, max_steps=loop.updates * settings.epochs, per_device_train_batch_size=size // parts,
                gradient_accumulation_steps=parts, num_generations=settings.answers, num_iterations=settings.epochs,
                max_completion_length=writer.most, epsilon=settings.clip, beta=settings.scale, loss_type="dapo", scale_rewards="group",
                max_grad_norm=loop.clip, bf16=False, gradient_checkpointing=False, disable_dropout=True, seed=seed % 2**32,
                use_cpu=next(writer.model.parameters()).device.type == "cpu", save_strategy="no", logging_strategy="no",
                report_to=[], disable_tqdm=True,
            ),
            train_dataset=datasets.Dataset.from_dict({"prompt": list(prompts) * -(-settings.prompts // len(prompts))}),
            processing_class=writer.tokenizer,
            callbacks=[Late()],
            optimizers=(adam, pace),
            rollout_func=rollout,
        )  # fmt: skip
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    vars(body).pop("forward", None)  # TRL puts one in its place
    body.config._name_or_path = name
    writer.model.eval()
    if late < loop.updates:
        with torch.no_grad():
            for value, whole in zip(weights, mean, strict=True):
                value.copy_(whole)
    return rows
