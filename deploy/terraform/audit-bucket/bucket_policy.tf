# Everything here denies: who may do something is said by the roles' own policies.
# S3's lifecycle rules aren't bound by it.
locals {
  events   = "${aws_s3_bucket.audit.arn}/audit-logs/*"
  canaries = "${aws_s3_bucket.audit.arn}/audit-logs/_preflight/*"
  objects  = "${aws_s3_bucket.audit.arn}/*"
  all      = [aws_s3_bucket.audit.arn, local.objects]

  own_roles = concat([aws_iam_role.writer.arn], aws_iam_role.reader[*].arn)

  deny_insecure = [
    {
      Sid       = "DenyPlaintext"
      Action    = "s3:*"
      Resource  = local.all
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    },
    {
      Sid       = "DenyOldTLS"
      Action    = "s3:*"
      Resource  = local.all
      Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
    },
  ]

  deny_writes = [
    {
      # verify would find what others add. Better if they can't.
      Sid       = "DenyWritesByOthers"
      Action    = "s3:PutObject"
      Resource  = local.objects
      Condition = { ArnNotEquals = { "aws:PrincipalArn" = aws_iam_role.writer.arn } }
    },
    {
      # StringNotEquals holds for a request without the header too.
      Sid       = "DenyOtherLockMode"
      Action    = ["s3:PutObject", "s3:PutObjectRetention"]
      Resource  = local.objects
      Condition = { StringNotEquals = { "s3:object-lock-mode" = var.lock_mode } }
    },
    {
      # Sallyport asks for an hour more, so that clocks and rounding may differ.
      # Canaries exist to be attacked, and are no evidence: a day does.
      Sid         = "DenyShortRetention"
      Action      = "s3:PutObject"
      NotResource = local.canaries
      Condition   = { NumericLessThan = { "s3:object-lock-remaining-retention-days" = tostring(var.retention_days) } }
    },
    {
      Sid       = "DenyShortRetentionOfCanaries"
      Action    = "s3:PutObject"
      Resource  = local.canaries
      Condition = { NumericLessThan = { "s3:object-lock-remaining-retention-days" = "1" } }
    },
    {
      # Otherwise a stolen writer could fill the bucket for a hundred years. One day
      # more than the expiry, for that hour when both are the same.
      Sid      = "DenyEndlessRetention"
      Action   = ["s3:PutObject", "s3:PutObjectRetention"]
      Resource = local.objects
      Condition = {
        NumericGreaterThan = { "s3:object-lock-remaining-retention-days" = tostring(var.expire_after_days + 1) }
        ArnEquals          = { "aws:PrincipalArn" = aws_iam_role.writer.arn }
      }
    },
    {
      # A key is written once. Copies and multipart uploads, which Sallyport doesn't
      # use, can't carry the header and are refused with it.
      Sid       = "DenyOverwrite"
      Action    = "s3:PutObject"
      Resource  = local.objects
      Condition = { Null = { "s3:if-none-match" = "true" } }
    },
  ]

  deny_other_encryption = [
    {
      # A request without these headers gets the bucket's default, which is right.
      Sid      = "DenyOtherEncryption"
      Action   = "s3:PutObject"
      Resource = local.objects
      Condition = {
        Null            = { "s3:x-amz-server-side-encryption" = "false" }
        StringNotEquals = { "s3:x-amz-server-side-encryption" = "aws:kms" }
      }
    },
    {
      Sid      = "DenyOtherKey"
      Action   = "s3:PutObject"
      Resource = local.objects
      Condition = {
        Null         = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = "false" }
        ArnNotEquals = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = aws_kms_key.audit.arn }
      }
    },
    {
      # A key that only the writer had: nobody could read the record.
      Sid       = "DenyCustomerProvidedKey"
      Action    = "s3:PutObject"
      Resource  = local.objects
      Condition = { Null = { "s3:x-amz-server-side-encryption-customer-algorithm" = "false" } }
    },
  ]

  # A delete marker destroys nothing, but hides a record.
  deny_deletion = [
    merge(
      {
        Sid      = "DenyDeletion"
        Action   = ["s3:BypassGovernanceRetention", "s3:DeleteObject", "s3:DeleteObjectVersion"]
        Resource = local.objects
      },
      length(var.deletion_role_arns) == 0 ? {} : {
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = var.deletion_role_arns } }
      },
    ),
  ]

  # Whatever else is attached to these roles one day.
  deny_configuration = [
    {
      Sid = "DenyConfigurationByOwnRoles"
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
      Resource  = local.all
      Condition = { ArnEquals = { "aws:PrincipalArn" = local.own_roles } }
    },
  ]

  bucket_policy = [
    for statement in concat(
      local.deny_insecure,
      local.deny_writes,
      local.deny_other_encryption,
      local.deny_deletion,
      local.deny_configuration,
    ) : merge(statement, { Effect = "Deny", Principal = "*" })
  ]
}

resource "aws_s3_bucket_policy" "audit" {
  bucket = aws_s3_bucket.audit.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.bucket_policy })

  # S3 refuses two changes at once.
  depends_on = [aws_s3_bucket_public_access_block.audit]
}
