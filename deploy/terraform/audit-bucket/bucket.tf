data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

resource "aws_s3_bucket" "audit" {
  bucket              = var.bucket
  object_lock_enabled = true
  force_destroy       = false # not even an empty-looking bucket goes: versions stay
  tags                = var.tags

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "audit" {
  bucket = aws_s3_bucket.audit.id

  versioning_configuration {
    status = "Enabled"
  }
}

# The second belt: Sallyport locks each object by itself, and the bucket's policy
# refuses objects that don't ask for it.
resource "aws_s3_bucket_object_lock_configuration" "audit" {
  bucket = aws_s3_bucket.audit.id

  rule {
    default_retention {
      mode = var.lock_mode
      days = var.retention_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.audit]
}

resource "aws_s3_bucket_server_side_encryption_configuration" "audit" {
  bucket = aws_s3_bucket.audit.id

  rule {
    bucket_key_enabled = true # one request to KMS for many objects

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.audit.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "audit" {
  bucket                  = aws_s3_bucket.audit.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "audit" {
  bucket = aws_s3_bucket.audit.id

  rule {
    object_ownership = "BucketOwnerEnforced" # no ACLs
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "audit" {
  bucket = aws_s3_bucket.audit.id

  # Smaller objects would cost more to move than they ever save, and each is billed
  # as 128 KiB there. They stay where they are until they expire.
  transition_default_minimum_object_size = "all_storage_classes_128K"

  rule {
    id     = "age"
    status = "Enabled"
    filter {
      prefix = ""
    }

    transition {
      days          = var.archive_after_days
      storage_class = "GLACIER_IR"
    }

    # Of a bucket with versions this only hides: it puts a delete marker in front.
    expiration {
      days = var.expire_after_days
    }

    # S3 refuses a transition that comes after the expiry.
    dynamic "noncurrent_version_transition" {
      for_each = var.noncurrent_expire_after_days > var.archive_after_days ? [var.archive_after_days] : []

      content {
        noncurrent_days = noncurrent_version_transition.value
        storage_class   = "GLACIER_IR"
      }
    }

    # This deletes what was hidden. Its clock starts when a version stops being the
    # current one: the age of expiry here would keep everything twice as long.
    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_expire_after_days
    }

    # Nothing of ours is uploaded in parts.
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  # A rule of its own: S3 takes this beside no other expiration.
  rule {
    id     = "markers"
    status = "Enabled"
    filter {
      prefix = ""
    }

    expiration {
      expired_object_delete_marker = true
    }
  }

  depends_on = [aws_s3_bucket_versioning.audit]
}

resource "aws_s3_bucket_logging" "audit" {
  count = var.access_log_bucket == null ? 0 : 1

  bucket        = aws_s3_bucket.audit.id
  target_bucket = var.access_log_bucket
  target_prefix = "${var.bucket}/"
}
