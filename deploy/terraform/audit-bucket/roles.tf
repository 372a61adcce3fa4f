locals {
  writer_trust = concat(
    [for arns in length(var.writer.role_arns) == 0 ? [] : [var.writer.role_arns] : {
      Sid       = "Roles"
      Effect    = "Allow"
      Principal = { AWS = arns }
      Action    = "sts:AssumeRole"
    }],
    [for oidc in var.writer.oidc[*] : {
      Sid       = "Workloads"
      Effect    = "Allow"
      Principal = { Federated = oidc.provider_arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "${split(":oidc-provider/", oidc.provider_arn)[1]}:aud" = oidc.audience
          "${split(":oidc-provider/", oidc.provider_arn)[1]}:sub" = oidc.subjects
        }
      }
    }],
    [for service in var.writer.services : {
      Effect    = "Allow"
      Principal = { Service = service }
      # EKS tags the sessions that it makes.
      Action = service == "pods.eks.amazonaws.com" ? ["sts:AssumeRole", "sts:TagSession"] : ["sts:AssumeRole"]
    }],
  )

  read_objects = [
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:GetObjectRetention",
  ]

  # Not narrowed to a prefix: S3 would answer 403 and not 404 for an object that
  # isn't there, and a missing record couldn't be told from a missing right.
  read_bucket = [
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketVersioning",
    "s3:ListBucket",
    "s3:ListBucketVersions",
  ]

  writer_policy = [
    {
      Sid      = "Objects"
      Effect   = "Allow"
      Action   = concat(["s3:PutObject", "s3:PutObjectRetention"], local.read_objects)
      Resource = local.events
    },
    {
      Sid      = "Bucket"
      Effect   = "Allow"
      Action   = local.read_bucket
      Resource = aws_s3_bucket.audit.arn
    },
    {
      # Decrypt, because it reads back what it wrote.
      Sid      = "Key"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = aws_kms_key.audit.arn
    },
  ]

  reader_policy = [
    {
      Sid      = "Objects"
      Effect   = "Allow"
      Action   = concat(local.read_objects, ["s3:GetObjectLegalHold"])
      Resource = local.events
    },
    {
      # With what an auditor asks for beside the records.
      Sid    = "Bucket"
      Effect = "Allow"
      Action = concat(local.read_bucket, [
        "s3:GetBucketLogging",
        "s3:GetBucketOwnershipControls",
        "s3:GetBucketPolicy",
        "s3:GetBucketPolicyStatus",
        "s3:GetBucketPublicAccessBlock",
        "s3:GetEncryptionConfiguration",
        "s3:GetLifecycleConfiguration",
      ])
      Resource = aws_s3_bucket.audit.arn
    },
    {
      Sid      = "Key"
      Effect   = "Allow"
      Action   = ["kms:Decrypt"]
      Resource = aws_kms_key.audit.arn
    },
  ]
}

resource "aws_iam_role" "writer" {
  name               = "${var.bucket}-writer"
  description        = "Sallyport writes its audit trail"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = local.writer_trust })
  tags               = var.tags
}

resource "aws_iam_role_policy" "writer" {
  name   = "audit-bucket"
  role   = aws_iam_role.writer.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.writer_policy })
}

resource "aws_iam_role" "reader" {
  count = length(var.reader_role_arns) == 0 ? 0 : 1

  name        = "${var.bucket}-reader"
  description = "Verifies the audit trail"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Roles"
      Effect    = "Allow"
      Principal = { AWS = var.reader_role_arns }
      Action    = "sts:AssumeRole"
    }]
  })
  tags = var.tags
}

resource "aws_iam_role_policy" "reader" {
  count = length(aws_iam_role.reader)

  name   = "audit-bucket"
  role   = aws_iam_role.reader[count.index].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.reader_policy })
}
