# What the bucket's policy denies, statement by statement.

mock_provider "aws" {
  override_during = plan

  mock_resource "aws_s3_bucket" {
    defaults = { id = "acme-audit", arn = "arn:aws:s3:::acme-audit", region = "ap-south-1" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:ap-south-1:111122223333:key/audit", key_id = "audit" }
  }

  override_resource {
    target = aws_iam_role.writer
    values = { arn = "arn:aws:iam::111122223333:role/acme-audit-writer", id = "acme-audit-writer" }
  }

  override_resource {
    target = aws_iam_role.reader
    values = { arn = "arn:aws:iam::111122223333:role/acme-audit-reader", id = "acme-audit-reader" }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
}

variables {
  bucket           = "acme-audit"
  writer           = { role_arns = ["arn:aws:iam::111122223333:role/nodes"] }
  reader_role_arns = ["arn:aws:iam::111122223333:role/auditors"]
}

run "denies" {
  command = plan

  assert {
    condition = [for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s.Sid] == [
      "DenyPlaintext",
      "DenyOldTLS",
      "DenyWritesByOthers",
      "DenyOtherLockMode",
      "DenyShortRetention",
      "DenyShortRetentionOfCanaries",
      "DenyEndlessRetention",
      "DenyOverwrite",
      "DenyOtherEncryption",
      "DenyOtherKey",
      "DenyCustomerProvidedKey",
      "DenyDeletion",
      "DenyConfigurationByOwnRoles",
    ]
    error_message = "The policy has other statements than the ones that are tested here."
  }

  assert {
    condition     = aws_s3_bucket_policy.audit.bucket == "acme-audit" && jsondecode(aws_s3_bucket_policy.audit.policy).Version == "2012-10-17"
    error_message = "The policy must be the bucket's."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyPlaintext"]) == jsonencode([{
      Sid       = "DenyPlaintext"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:aws:s3:::acme-audit", "arn:aws:s3:::acme-audit/*"]
      Condition = {
        Bool = {
          "aws:SecureTransport" = "false"
        }
      }
    }])
    error_message = "Requests without TLS must be refused."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyOldTLS"]) == jsonencode([{
      Sid       = "DenyOldTLS"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:aws:s3:::acme-audit", "arn:aws:s3:::acme-audit/*"]
      Condition = {
        NumericLessThan = {
          "s3:TlsVersion" = "1.2"
        }
      }
    }])
    error_message = "TLS before 1.2 must be refused."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyWritesByOthers"]) == jsonencode([{
      Sid       = "DenyWritesByOthers"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:PutObject"
      Resource  = "arn:aws:s3:::acme-audit/*"
      Condition = {
        ArnNotEquals = {
          "aws:PrincipalArn" = "arn:aws:iam::111122223333:role/acme-audit-writer"
        }
      }
    }])
    error_message = "Nobody but the writer may write."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyOtherLockMode"]) == jsonencode([{
      Sid       = "DenyOtherLockMode"
      Effect    = "Deny"
      Principal = "*"
      Action    = ["s3:PutObject", "s3:PutObjectRetention"]
      Resource  = "arn:aws:s3:::acme-audit/*"
      Condition = {
        StringNotEquals = {
          "s3:object-lock-mode" = "GOVERNANCE"
        }
      }
    }])
    error_message = "Objects must be locked in the expected mode."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyShortRetention"]) == jsonencode([{
      Sid         = "DenyShortRetention"
      Effect      = "Deny"
      Principal   = "*"
      Action      = "s3:PutObject"
      NotResource = "arn:aws:s3:::acme-audit/audit-logs/_preflight/*"
      Condition = {
        NumericLessThan = {
          "s3:object-lock-remaining-retention-days" = "365"
        }
      }
    }])
    error_message = "Objects must be locked for the whole retention."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyShortRetentionOfCanaries"]) == jsonencode([{
      Sid       = "DenyShortRetentionOfCanaries"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:PutObject"
      Resource  = "arn:aws:s3:::acme-audit/audit-logs/_preflight/*"
      Condition = {
        NumericLessThan = {
          "s3:object-lock-remaining-retention-days" = "1"
        }
      }
    }])
    error_message = "Canaries must be locked for a day."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyEndlessRetention"]) == jsonencode([{
      Sid       = "DenyEndlessRetention"
      Effect    = "Deny"
      Principal = "*"
      Action    = ["s3:PutObject", "s3:PutObjectRetention"]
      Resource  = "arn:aws:s3:::acme-audit/*"
      Condition = {
        NumericGreaterThan = {
          "s3:object-lock-remaining-retention-days" = "731"
        }
        ArnEquals = {
          "aws:PrincipalArn" = "arn:aws:iam::111122223333:role/acme-audit-writer"
        }
      }
    }])
    error_message = "The writer must not lock beyond the expiry."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyOverwrite"]) == jsonencode([{
      Sid       = "DenyOverwrite"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:PutObject"
      Resource  = "arn:aws:s3:::acme-audit/*"
      Condition = {
        Null = {
          "s3:if-none-match" = "true"
        }
      }
    }])
    error_message = "Writes must be conditional."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyOtherEncryption"]) == jsonencode([{
      Sid       = "DenyOtherEncryption"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:PutObject"
      Resource  = "arn:aws:s3:::acme-audit/*"
      Condition = {
        Null = {
          "s3:x-amz-server-side-encryption" = "false"
        }
        StringNotEquals = {
          "s3:x-amz-server-side-encryption" = "aws:kms"
        }
      }
    }])
    error_message = "Another encryption must be refused."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyOtherKey"]) == jsonencode([{
      Sid       = "DenyOtherKey"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:PutObject"
      Resource  = "arn:aws:s3:::acme-audit/*"
      Condition = {
        Null = {
          "s3:x-amz-server-side-encryption-aws-kms-key-id" = "false"
        }
        ArnNotEquals = {
          "s3:x-amz-server-side-encryption-aws-kms-key-id" = "arn:aws:kms:ap-south-1:111122223333:key/audit"
        }
      }
    }])
    error_message = "Another key must be refused."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyCustomerProvidedKey"]) == jsonencode([{
      Sid       = "DenyCustomerProvidedKey"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:PutObject"
      Resource  = "arn:aws:s3:::acme-audit/*"
      Condition = {
        Null = {
          "s3:x-amz-server-side-encryption-customer-algorithm" = "false"
        }
      }
    }])
    error_message = "Keys that S3 does not know must be refused."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyDeletion"]) == jsonencode([{
      Sid       = "DenyDeletion"
      Effect    = "Deny"
      Principal = "*"
      Action = [
        "s3:BypassGovernanceRetention",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
      ]
      Resource = "arn:aws:s3:::acme-audit/*"
    }])
    error_message = "Nobody may delete, hide or bypass."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyConfigurationByOwnRoles"]) == jsonencode([{
      Sid       = "DenyConfigurationByOwnRoles"
      Effect    = "Deny"
      Principal = "*"
      Action = [
        "s3:DeleteBucket",
        "s3:DeleteBucketPolicy",
        "s3:PutBucketAcl",
        "s3:PutBucketLogging",
        "s3:PutBucketObjectLockConfiguration",
        "s3:PutBucketOwnershipControls",
        "s3:PutBucketPolicy",
        "s3:PutBucketPublicAccessBlock",
        "s3:PutBucketVersioning",
        "s3:PutEncryptionConfiguration",
        "s3:PutLifecycleConfiguration",
        "s3:PutObjectAcl",
        "s3:PutObjectLegalHold",
        "s3:PutReplicationConfiguration",
      ]
      Resource = ["arn:aws:s3:::acme-audit", "arn:aws:s3:::acme-audit/*"]
      Condition = {
        ArnEquals = {
          "aws:PrincipalArn" = ["arn:aws:iam::111122223333:role/acme-audit-writer", "arn:aws:iam::111122223333:role/acme-audit-reader"]
        }
      }
    }])
    error_message = "Writer and reader must not change how the bucket protects."
  }
}

run "denies_as_asked" {
  command = plan

  variables {
    lock_mode          = "COMPLIANCE"
    retention_days     = 400
    expire_after_days  = 400
    reader_role_arns   = []
    deletion_role_arns = ["arn:aws:iam::111122223333:role/disposal"]
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyOtherLockMode"]) == jsonencode([{
      Sid       = "DenyOtherLockMode"
      Effect    = "Deny"
      Principal = "*"
      Action    = ["s3:PutObject", "s3:PutObjectRetention"]
      Resource  = "arn:aws:s3:::acme-audit/*"
      Condition = {
        StringNotEquals = {
          "s3:object-lock-mode" = "COMPLIANCE"
        }
      }
    }])
    error_message = "The mode must follow lock_mode."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyShortRetention"]) == jsonencode([{
      Sid         = "DenyShortRetention"
      Effect      = "Deny"
      Principal   = "*"
      Action      = "s3:PutObject"
      NotResource = "arn:aws:s3:::acme-audit/audit-logs/_preflight/*"
      Condition = {
        NumericLessThan = {
          "s3:object-lock-remaining-retention-days" = "400"
        }
      }
    }])
    error_message = "The retention must follow retention_days."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyEndlessRetention"]) == jsonencode([{
      Sid       = "DenyEndlessRetention"
      Effect    = "Deny"
      Principal = "*"
      Action    = ["s3:PutObject", "s3:PutObjectRetention"]
      Resource  = "arn:aws:s3:::acme-audit/*"
      Condition = {
        NumericGreaterThan = {
          "s3:object-lock-remaining-retention-days" = "401"
        }
        ArnEquals = {
          "aws:PrincipalArn" = "arn:aws:iam::111122223333:role/acme-audit-writer"
        }
      }
    }])
    error_message = "The longest lock must follow expire_after_days."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyDeletion"]) == jsonencode([{
      Sid       = "DenyDeletion"
      Effect    = "Deny"
      Principal = "*"
      Action = [
        "s3:BypassGovernanceRetention",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
      ]
      Resource = "arn:aws:s3:::acme-audit/*"
      Condition = {
        ArnNotEquals = {
          "aws:PrincipalArn" = ["arn:aws:iam::111122223333:role/disposal"]
        }
      }
    }])
    error_message = "Deletion must be left to deletion_role_arns."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_s3_bucket_policy.audit.policy).Statement : s if s.Sid == "DenyConfigurationByOwnRoles"]) == jsonencode([{
      Sid       = "DenyConfigurationByOwnRoles"
      Effect    = "Deny"
      Principal = "*"
      Action = [
        "s3:DeleteBucket",
        "s3:DeleteBucketPolicy",
        "s3:PutBucketAcl",
        "s3:PutBucketLogging",
        "s3:PutBucketObjectLockConfiguration",
        "s3:PutBucketOwnershipControls",
        "s3:PutBucketPolicy",
        "s3:PutBucketPublicAccessBlock",
        "s3:PutBucketVersioning",
        "s3:PutEncryptionConfiguration",
        "s3:PutLifecycleConfiguration",
        "s3:PutObjectAcl",
        "s3:PutObjectLegalHold",
        "s3:PutReplicationConfiguration",
      ]
      Resource = ["arn:aws:s3:::acme-audit", "arn:aws:s3:::acme-audit/*"]
      Condition = {
        ArnEquals = {
          "aws:PrincipalArn" = ["arn:aws:iam::111122223333:role/acme-audit-writer"]
        }
      }
    }])
    error_message = "Without a reader, the writer must still not change the configuration."
  }
}
