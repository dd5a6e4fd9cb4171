"""The one gate: may this caller do this step now? Synchronous and pure: policy texts, time and approvals are handed in.

Module         | What it holds
---------------|----------------------------------------------------------------------------
`question`     | what policies may know of a step, and how Cedar hears it
`source`       | Cedar files taken apart into policies with their lines
`policies`     | a bundle of policies: checked at load, sliced, asked fail-closed
`capabilities` | the rights of a passport, which no policy can grant
`approvals`    | who may approve what, and what an approval counts for
`limits`       | token buckets
`quotas`       | how much may be used per minute, hour, day, and at once
`quarantine`   | who is locked out
`anomaly`      | how unusual a caller's usage is
`guard`        | what is looked for in arguments and results
`admit`        | the pipeline that gives a verdict
`mint`         | the permit that an allowed touch spends
`cases`        | tests of policies, as data
`packs`        | sets of policies that ship, each with its cases
`coverage`     | how good the tests of policies are
`explain`      | the same answer told to a person; and the check of policy files
"""
