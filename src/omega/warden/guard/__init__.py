"""What is looked for in the arguments and results of touches: instructions that somebody slipped in, and personal data. Pure detectors.

Module      | What it finds
------------|------------------------------------------------------------------------------
`injection` | text in a tool's result that speaks to the model instead of answering it
`personal`  | personal data that has a form of its own: cards, IBAN, e-mail, keys, ...
`rules`     | what is done about a find, per tenant and tool
"""
