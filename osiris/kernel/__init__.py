"""The kernel: the loop that drafts, proves and measures patches of the policy, and applies those that earn more.

`meta_loop` runs one turn. It asks `trial` for a first verdict on a patch (with `draft`, `prove` and `measure`), then
`shadow_trial` for the verdict on later days. `apply` makes a patch live or rolls it back, and `observe` watches the
live ones. `repo` keeps the policy in git, `patch_log` keeps the reasons.
"""
