output "audit" {
  description = "What goes into the audit section of Sallyport's configuration; yamlencode({ audit = … }) writes it."
  value = {
    s3_enabled          = true
    s3_bucket           = aws_s3_bucket.audit.bucket
    s3_region           = aws_s3_bucket.audit.region
    s3_kms_key          = aws_kms_key.audit.arn
    s3_object_lock_mode = var.lock_mode
    s3_retention_days   = var.retention_days
  }
}

output "writer_role_arn" {
  description = "The role that Sallyport runs with: the eks.amazonaws.com/role-arn annotation of its service account, AWS_ROLE_ARN, or the role of its task."
  value       = aws_iam_role.writer.arn
}

output "writer_role_name" {
  description = "The same role's name, for an instance profile."
  value       = aws_iam_role.writer.name
}

output "reader_role_arn" {
  description = "The role that runs `sallyport audit verify`; null without reader_role_arns."
  value       = one(aws_iam_role.reader[*].arn)
}

output "bucket_arn" {
  description = "The bucket's ARN."
  value       = aws_s3_bucket.audit.arn
}

output "kms_key_arn" {
  description = "The ARN of the key that encrypts the bucket's objects."
  value       = aws_kms_key.audit.arn
}
