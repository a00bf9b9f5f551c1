"""DPO that reads a prompt once for both of its replies; the loss is TRL's, and so are its figures.

An example: a prompt of 170 tokens with two replies of 45 tokens. TRL reads 430 tokens, the prompt twice, and computes
logits for each of them, since on a CPU its kernel skips none. Here 260 tokens are read, and the 90 of the replies have
logits. The keys and values of the prompt have gradients, so the gradients are the same but for rounding.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from trl import DPOTrainer

from osiris.llm.completion import position_ids, prefill_cache

if TYPE_CHECKING:
    from torch import Tensor

TOKEN_FIELDS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
"""What TRL's trainer reads of a model's output, one number for each token."""
NO_LABEL = -100


class SharedPromptDPOTrainer(DPOTrainer):
    """TRL's trainer on a model that reads each prompt once.

    With gradient checkpointing a model keeps no keys and values, and a mixture of experts balances over all tokens that
    it reads. There the trainer does as TRL does.
    """

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        """The log-probabilities of chosen and rejected replies under the reference model, each of shape (pairs,)."""
        return super().compute_ref_log_probs(self._wrap(model), inputs)

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        return super()._compute_loss(self._wrap(model), inputs, return_outputs)

    def _wrap(self, model: Any) -> Any:
        as_trl = self.args.gradient_checkpointing or self.aux_loss_enabled
        return model if as_trl else read_prompts_once(model)


def read_prompts_once(model: Any) -> Callable[..., Any]:
    """The model as a function of TRL's batches of pairs: first all chosen replies, then the rejected, in one order.

    It takes what TRL gives a model with a fused head: `input_ids`, `attention_mask` and `labels`, each of shape
    (2 * pairs, tokens), padded on the right, with the label -100 on prompts and padding. It returns the same output:
    fields of shape (2 * pairs, tokens - 1), with zeros where no reply is.
    """

    def forward(
        *, input_ids: "Tensor", attention_mask: "Tensor", labels: "Tensor", fused_lm_head: bool, **others: Any
    ) -> Any:
        del others["use_cache"]  # TRL's False; the prompts' keys and values are what is shared
        of_reply = labels != NO_LABEL
        lengths = of_reply.int().argmax(1)  # of the prompts
        pairs, width = len(input_ids) // 2, int(lengths.max())
        # The last token of a prompt is read with the replies, since it predicts their first token.
        prompts, prompt_mask = _align_right(input_ids[:pairs], lengths[:pairs] - 1, width - 1)
        replies, reply_mask, reply_labels = (
            _from_each(values, lengths - 1, filler)
            for values, filler in ((input_ids, 0), (attention_mask, 0), (labels, NO_LABEL))
        )
        reply_labels[:, 0] = NO_LABEL
        mask = torch.cat([prompt_mask.repeat(2, 1), reply_mask], 1)
        outputs = model(
            input_ids=replies,
            attention_mask=mask,
            position_ids=position_ids(mask)[:, width - 1 :],
            past_key_values=prefill_cache(model, prompts, prompt_mask, [*range(pairs), *range(pairs)]),
            labels=reply_labels,
            fused_lm_head=fused_lm_head,
            **others,
        )
        target, source = of_reply[:, 1:], reply_labels[:, 1:] != NO_LABEL
        for name in TOKEN_FIELDS:
            if (values := getattr(outputs, name)) is not None:
                setattr(outputs, name, values.new_zeros(target.shape).masked_scatter(target, values[source]))
        return outputs

    return forward


def _align_right(rows: "Tensor", lengths: "Tensor", width: int) -> "tuple[Tensor, Tensor]":
    """The first `lengths` tokens of each row, padded on the left to `width`, and their mask."""
    places = torch.arange(width, device=rows.device) - (width - lengths)[:, None]
    return rows.gather(1, places.clamp(min=0)), (places >= 0).long()


def _from_each(rows: "Tensor", starts: "Tensor", filler: int) -> "Tensor":
    """Each row from its start on, padded on the right with `filler`."""
    width = rows.shape[1] - int(starts.min())
    places = starts[:, None] + torch.arange(width, device=rows.device)
    inside = places < rows.shape[1]
    return rows.gather(1, places.clamp(max=rows.shape[1] - 1)).masked_fill(~inside, filler)
