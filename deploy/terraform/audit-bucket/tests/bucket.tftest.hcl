# What the bucket is. Nothing here needs an account: the provider is a mock.

mock_provider "aws" {
  override_during = plan

  mock_resource "aws_s3_bucket" {
    defaults = { id = "acme-audit", arn = "arn:aws:s3:::acme-audit", region = "ap-south-1" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:ap-south-1:111122223333:key/audit", key_id = "audit" }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
}

variables {
  bucket = "acme-audit"
  writer = { role_arns = ["arn:aws:iam::111122223333:role/nodes"] }
}

run "locks" {
  command = plan

  assert {
    condition     = aws_s3_bucket.audit.bucket == "acme-audit" && aws_s3_bucket.audit.object_lock_enabled
    error_message = "Object Lock must be on from the bucket's creation."
  }

  assert {
    condition     = aws_s3_bucket.audit.force_destroy == false
    error_message = "A bucket that isn't empty must not be destroyed."
  }

  assert {
    condition     = aws_s3_bucket_versioning.audit.bucket == "acme-audit" && aws_s3_bucket_versioning.audit.versioning_configuration[0].status == "Enabled"
    error_message = "Versions must be kept."
  }

  assert {
    condition = (
      aws_s3_bucket_object_lock_configuration.audit.bucket == "acme-audit" &&
      aws_s3_bucket_object_lock_configuration.audit.rule[0].default_retention[0].mode == "GOVERNANCE" &&
      aws_s3_bucket_object_lock_configuration.audit.rule[0].default_retention[0].days == 365
    )
    error_message = "The default retention must be 365 days of GOVERNANCE."
  }
}

run "locks_as_asked" {
  command = plan

  variables {
    lock_mode         = "COMPLIANCE"
    retention_days    = 2190
    expire_after_days = 2190
  }

  assert {
    condition = (
      aws_s3_bucket_object_lock_configuration.audit.rule[0].default_retention[0].mode == "COMPLIANCE" &&
      aws_s3_bucket_object_lock_configuration.audit.rule[0].default_retention[0].days == 2190
    )
    error_message = "The default retention must follow lock_mode and retention_days."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.audit.rule[0].expiration[0].days == 2190
    error_message = "Expiry must follow expire_after_days."
  }
}

run "encrypts" {
  command = plan

  assert {
    condition     = aws_s3_bucket_server_side_encryption_configuration.audit.bucket == "acme-audit"
    error_message = "The encryption must be this bucket's."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.audit.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    error_message = "Objects must be encrypted by KMS."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.audit.rule).apply_server_side_encryption_by_default).kms_master_key_id == aws_kms_key.audit.arn
    error_message = "Objects must be encrypted with the customer's key."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.audit.rule).bucket_key_enabled
    error_message = "The bucket key must be on."
  }
}

run "is_private" {
  command = plan

  assert {
    condition = (
      aws_s3_bucket_public_access_block.audit.bucket == "acme-audit" &&
      aws_s3_bucket_public_access_block.audit.block_public_acls &&
      aws_s3_bucket_public_access_block.audit.block_public_policy &&
      aws_s3_bucket_public_access_block.audit.ignore_public_acls &&
      aws_s3_bucket_public_access_block.audit.restrict_public_buckets
    )
    error_message = "All four kinds of public access must be blocked."
  }

  assert {
    condition     = aws_s3_bucket_ownership_controls.audit.bucket == "acme-audit" && aws_s3_bucket_ownership_controls.audit.rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "ACLs must be off."
  }

  assert {
    condition     = length(aws_s3_bucket_logging.audit) == 0
    error_message = "Access logs need a bucket to go to."
  }
}

run "logs_access" {
  command = plan

  variables {
    access_log_bucket = "acme-access-logs"
  }

  assert {
    condition = (
      aws_s3_bucket_logging.audit[0].bucket == "acme-audit" &&
      aws_s3_bucket_logging.audit[0].target_bucket == "acme-access-logs" &&
      aws_s3_bucket_logging.audit[0].target_prefix == "acme-audit/"
    )
    error_message = "Access logs must go to access_log_bucket."
  }
}

run "ages" {
  command = plan

  assert {
    condition = (
      aws_s3_bucket_lifecycle_configuration.audit.bucket == "acme-audit" &&
      alltrue([for r in aws_s3_bucket_lifecycle_configuration.audit.rule : r.status == "Enabled" && r.filter[0].prefix == ""])
    )
    error_message = "Every rule must be on, for the whole bucket."
  }

  assert {
    condition = (
      one(aws_s3_bucket_lifecycle_configuration.audit.rule[0].transition).days == 90 &&
      one(aws_s3_bucket_lifecycle_configuration.audit.rule[0].transition).storage_class == "GLACIER_IR"
    )
    error_message = "At 90 days objects must move to where they can still be read at once."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.audit.transition_default_minimum_object_size == "all_storage_classes_128K"
    error_message = "Small objects must stay where they are."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.audit.rule[0].expiration[0].days == 730
    error_message = "Objects must expire at 730 days."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.audit.rule[0].noncurrent_version_expiration[0].noncurrent_days == 1
    error_message = "A version that expiry has hidden must be deleted a day later."
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.audit.rule[0].noncurrent_version_transition) == 0
    error_message = "S3 refuses a transition that comes after the expiry."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.audit.rule[0].abort_incomplete_multipart_upload[0].days_after_initiation == 1
    error_message = "Parts of unfinished uploads must go."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.audit.rule[1].expiration[0].expired_object_delete_marker
    error_message = "Delete markers that hide nothing any more must go."
  }
}

run "keeps_noncurrent_versions_as_asked" {
  command = plan

  variables {
    archive_after_days           = 30
    noncurrent_expire_after_days = 730
  }

  assert {
    condition = (
      one(aws_s3_bucket_lifecycle_configuration.audit.rule[0].noncurrent_version_transition).noncurrent_days == 30 &&
      one(aws_s3_bucket_lifecycle_configuration.audit.rule[0].noncurrent_version_transition).storage_class == "GLACIER_IR" &&
      one(aws_s3_bucket_lifecycle_configuration.audit.rule[0].transition).days == 30
    )
    error_message = "Versions that are kept long must move too."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.audit.rule[0].noncurrent_version_expiration[0].noncurrent_days == 730
    error_message = "Noncurrent versions must be kept as long as asked."
  }
}

run "tells_sallyport" {
  command = plan

  assert {
    condition = output.audit == {
      s3_enabled          = true
      s3_bucket           = "acme-audit"
      s3_region           = "ap-south-1"
      s3_kms_key          = "arn:aws:kms:ap-south-1:111122223333:key/audit"
      s3_object_lock_mode = "GOVERNANCE"
      s3_retention_days   = 365
    }
    error_message = "The output must be Sallyport's audit section."
  }

  assert {
    condition     = output.bucket_arn == "arn:aws:s3:::acme-audit" && output.kms_key_arn == aws_kms_key.audit.arn
    error_message = "The outputs must name bucket and key."
  }
}

run "tags" {
  command = plan

  variables {
    tags             = { application = "sallyport" }
    reader_role_arns = ["arn:aws:iam::111122223333:role/auditors"]
  }

  assert {
    condition = alltrue([
      for tags in [aws_s3_bucket.audit.tags, aws_kms_key.audit.tags, aws_iam_role.writer.tags, aws_iam_role.reader[0].tags] :
      tags == tomap({ application = "sallyport" })
    ])
    error_message = "Everything that can have tags must have them."
  }
}
