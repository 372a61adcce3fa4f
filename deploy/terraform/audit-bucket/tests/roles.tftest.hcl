# Who may do what: the key's policy, the roles and who assumes them.

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
  reader_role_arns = ["arn:aws:iam::444455556666:role/auditors"]
}

run "key" {
  command = plan

  assert {
    condition     = aws_kms_key.audit.enable_key_rotation && aws_kms_key.audit.deletion_window_in_days == 30
    error_message = "The key must rotate, and its deletion must leave time."
  }

  assert {
    condition     = aws_kms_alias.audit.name == "alias/acme-audit" && aws_kms_alias.audit.target_key_id == aws_kms_key.audit.key_id
    error_message = "The alias must name the key."
  }

  assert {
    condition = [for s in jsondecode(aws_kms_key.audit.policy).Statement : s.Sid] == [
      "Administration",
      "Writer",
      "Reader",
    ]
    error_message = "The key's policy has other statements than the ones that are tested here."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_kms_key.audit.policy).Statement : s if s.Sid == "Administration"]) == jsonencode([{
      Sid      = "Administration"
      Effect   = "Allow"
      Resource = "*"
      Principal = {
        AWS = "arn:aws:iam::111122223333:root"
      }
      Action = [
        "kms:CancelKeyDeletion",
        "kms:CreateAlias",
        "kms:DeleteAlias",
        "kms:DescribeKey",
        "kms:EnableKey",
        "kms:EnableKeyRotation",
        "kms:GetKeyPolicy",
        "kms:GetKeyRotationStatus",
        "kms:ListAliases",
        "kms:ListGrants",
        "kms:ListKeyPolicies",
        "kms:ListKeyRotations",
        "kms:ListResourceTags",
        "kms:PutKeyPolicy",
        "kms:RevokeGrant",
        "kms:TagResource",
        "kms:UntagResource",
        "kms:UpdateAlias",
        "kms:UpdateKeyDescription",
      ]
    }])
    error_message = "Administrators must neither use the key nor delete it."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_kms_key.audit.policy).Statement : s if s.Sid == "Writer"]) == jsonencode([{
      Sid      = "Writer"
      Effect   = "Allow"
      Resource = "*"
      Principal = {
        AWS = "arn:aws:iam::111122223333:role/acme-audit-writer"
      }
      Action = ["kms:Decrypt", "kms:GenerateDataKey"]
      Condition = {
        StringEquals = {
          "kms:ViaService"    = "s3.ap-south-1.amazonaws.com"
          "kms:CallerAccount" = "111122223333"
        }
        StringLike = {
          "kms:EncryptionContext:aws:s3:arn" = ["arn:aws:s3:::acme-audit", "arn:aws:s3:::acme-audit/*"]
        }
      }
    }])
    error_message = "The writer must use the key for this bucket only."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_kms_key.audit.policy).Statement : s if s.Sid == "Reader"]) == jsonencode([{
      Sid      = "Reader"
      Effect   = "Allow"
      Resource = "*"
      Principal = {
        AWS = "arn:aws:iam::111122223333:role/acme-audit-reader"
      }
      Action = ["kms:Decrypt"]
      Condition = {
        StringEquals = {
          "kms:ViaService"    = "s3.ap-south-1.amazonaws.com"
          "kms:CallerAccount" = "111122223333"
        }
        StringLike = {
          "kms:EncryptionContext:aws:s3:arn" = ["arn:aws:s3:::acme-audit", "arn:aws:s3:::acme-audit/*"]
        }
      }
    }])
    error_message = "The reader must only decrypt, for this bucket only."
  }
}

run "writer" {
  command = plan

  assert {
    condition     = aws_iam_role.writer.name == "acme-audit-writer" && aws_iam_role_policy.writer.role == "acme-audit-writer"
    error_message = "The policy must be the role's."
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.writer.policy).Statement : s.Sid] == [
      "Objects",
      "Bucket",
      "Key",
    ]
    error_message = "The writer has other rights than the ones that are tested here."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_iam_role_policy.writer.policy).Statement : s if s.Sid == "Objects"]) == jsonencode([{
      Sid      = "Objects"
      Effect   = "Allow"
      Resource = "arn:aws:s3:::acme-audit/audit-logs/*"
      Action = [
        "s3:PutObject",
        "s3:PutObjectRetention",
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:GetObjectRetention",
      ]
    }])
    error_message = "The writer must write and read the records, and nothing else."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_iam_role_policy.writer.policy).Statement : s if s.Sid == "Bucket"]) == jsonencode([{
      Sid      = "Bucket"
      Effect   = "Allow"
      Resource = "arn:aws:s3:::acme-audit"
      Action = [
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketVersioning",
        "s3:ListBucket",
        "s3:ListBucketVersions",
      ]
    }])
    error_message = "The writer must list, and see whether the bucket locks."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_iam_role_policy.writer.policy).Statement : s if s.Sid == "Key"]) == jsonencode([{
      Sid      = "Key"
      Effect   = "Allow"
      Resource = "arn:aws:kms:ap-south-1:111122223333:key/audit"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
    }])
    error_message = "The writer must use the key."
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role.writer.assume_role_policy).Statement) == jsonencode([{
      Sid    = "Roles"
      Effect = "Allow"
      Principal = {
        AWS = ["arn:aws:iam::111122223333:role/nodes"]
      }
      Action = "sts:AssumeRole"
    }])
    error_message = "Only writer.role_arns may be the writer."
  }

  assert {
    condition     = output.writer_role_arn == "arn:aws:iam::111122223333:role/acme-audit-writer" && output.writer_role_name == "acme-audit-writer"
    error_message = "The outputs must name the role."
  }
}

run "reader" {
  command = plan

  assert {
    condition     = aws_iam_role.reader[0].name == "acme-audit-reader" && aws_iam_role_policy.reader[0].role == "acme-audit-reader"
    error_message = "The policy must be the role's."
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.reader[0].policy).Statement : s.Sid] == [
      "Objects",
      "Bucket",
      "Key",
    ]
    error_message = "The reader has other rights than the ones that are tested here."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_iam_role_policy.reader[0].policy).Statement : s if s.Sid == "Objects"]) == jsonencode([{
      Sid      = "Objects"
      Effect   = "Allow"
      Resource = "arn:aws:s3:::acme-audit/audit-logs/*"
      Action = [
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:GetObjectRetention",
        "s3:GetObjectLegalHold",
      ]
    }])
    error_message = "The reader must only read."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_iam_role_policy.reader[0].policy).Statement : s if s.Sid == "Bucket"]) == jsonencode([{
      Sid      = "Bucket"
      Effect   = "Allow"
      Resource = "arn:aws:s3:::acme-audit"
      Action = [
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketVersioning",
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:GetBucketLogging",
        "s3:GetBucketOwnershipControls",
        "s3:GetBucketPolicy",
        "s3:GetBucketPolicyStatus",
        "s3:GetBucketPublicAccessBlock",
        "s3:GetEncryptionConfiguration",
        "s3:GetLifecycleConfiguration",
      ]
    }])
    error_message = "The reader must see how the bucket protects."
  }

  assert {
    condition = jsonencode([for s in jsondecode(aws_iam_role_policy.reader[0].policy).Statement : s if s.Sid == "Key"]) == jsonencode([{
      Sid      = "Key"
      Effect   = "Allow"
      Resource = "arn:aws:kms:ap-south-1:111122223333:key/audit"
      Action   = ["kms:Decrypt"]
    }])
    error_message = "The reader must decrypt."
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role.reader[0].assume_role_policy).Statement) == jsonencode([{
      Sid    = "Roles"
      Effect = "Allow"
      Principal = {
        AWS = ["arn:aws:iam::444455556666:role/auditors"]
      }
      Action = "sts:AssumeRole"
    }])
    error_message = "Only reader_role_arns may be the reader."
  }

  assert {
    condition     = output.reader_role_arn == "arn:aws:iam::111122223333:role/acme-audit-reader"
    error_message = "The output must name the role."
  }
}

run "no_reader" {
  command = plan

  variables {
    reader_role_arns = []
  }

  assert {
    condition     = length(aws_iam_role.reader) == 0 && length(aws_iam_role_policy.reader) == 0 && output.reader_role_arn == null
    error_message = "Nobody asked for a reader."
  }

  assert {
    condition     = [for s in jsondecode(aws_kms_key.audit.policy).Statement : s.Sid] == ["Administration", "Writer"]
    error_message = "The key must not be used by anybody else."
  }
}

run "workloads" {
  command = plan

  variables {
    writer = {
      oidc = {
        provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.eks.ap-south-1.amazonaws.com/id/ABC"
        subjects     = ["system:serviceaccount:sallyport:sallyport"]
      }
      services = ["ecs-tasks.amazonaws.com", "pods.eks.amazonaws.com"]
    }
  }

  assert {
    condition = jsonencode(jsondecode(aws_iam_role.writer.assume_role_policy).Statement) == jsonencode([
      {
        Sid    = "Workloads"
        Effect = "Allow"
        Principal = {
          Federated = "arn:aws:iam::111122223333:oidc-provider/oidc.eks.ap-south-1.amazonaws.com/id/ABC"
        }
        Action = "sts:AssumeRoleWithWebIdentity"
        Condition = {
          StringEquals = {
            "oidc.eks.ap-south-1.amazonaws.com/id/ABC:aud" = "sts.amazonaws.com"
            "oidc.eks.ap-south-1.amazonaws.com/id/ABC:sub" = ["system:serviceaccount:sallyport:sallyport"]
          }
        }
      },
      {
        Effect = "Allow"
        Principal = {
          Service = "ecs-tasks.amazonaws.com"
        }
        Action = ["sts:AssumeRole"]
      },
      {
        Effect = "Allow"
        Principal = {
          Service = "pods.eks.amazonaws.com"
        }
        Action = ["sts:AssumeRole", "sts:TagSession"]
      },
    ])
    error_message = "Only these workloads may be the writer."
  }
}
