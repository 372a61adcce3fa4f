# This must fail: after its run it wants to destroy what it made, and the module
# refuses. tools/test-terraform wants these names in the refusal, in this order,
# which is the one in which terraform would destroy them:
#
# refuses: aws_kms_key.audit
# refuses: aws_s3_bucket.audit

mock_provider "aws" {}

variables {
  bucket = "acme-audit"
  writer = { role_arns = ["arn:aws:iam::111122223333:role/nodes"] }
}

run "make" {
  command = apply
}
