locals {
  account = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"

  # The key is used through S3, for this bucket only. With a bucket key, which is
  # what the writer asks for, the context is the bucket; otherwise the object.
  through_s3 = {
    StringEquals = {
      "kms:ViaService"    = "s3.${aws_s3_bucket.audit.region}.${data.aws_partition.current.dns_suffix}"
      "kms:CallerAccount" = data.aws_caller_identity.current.account_id
    }
    StringLike = { "kms:EncryptionContext:aws:s3:arn" = [aws_s3_bucket.audit.arn, local.objects] }
  }

  key_policy = concat(
    [
      {
        # The account's administrators, as their own policies allow. They can neither
        # use the key nor, without a change of this policy first, disable or delete
        # it: that would be the deletion of everything in the bucket.
        Sid       = "Administration"
        Effect    = "Allow"
        Principal = { AWS = local.account }
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
        Resource = "*" # in a key's policy: the key
      },
      {
        Sid       = "Writer"
        Effect    = "Allow"
        Principal = { AWS = aws_iam_role.writer.arn }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = local.through_s3
      },
    ],
    [
      for reader in aws_iam_role.reader : {
        Sid       = "Reader"
        Effect    = "Allow"
        Principal = { AWS = reader.arn }
        Action    = ["kms:Decrypt"]
        Resource  = "*"
        Condition = local.through_s3
      }
    ],
  )
}

resource "aws_kms_key" "audit" {
  description             = "Objects of the audit bucket ${var.bucket}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = jsonencode({ Version = "2012-10-17", Statement = local.key_policy })
  tags                    = var.tags

  # Without the key the bucket is unreadable.
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "audit" {
  name          = "alias/${var.bucket}"
  target_key_id = aws_kms_key.audit.key_id
}
