# A bucket that an auditor accepts, written by pods of an EKS cluster and read by
# the security team's role. Run it in an account that holds nothing else.

terraform {
  required_version = ">= 1.11.0, < 2.0.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "region" {
  description = "Where the bucket is."
  type        = string
  default     = "ap-south-1"
}

variable "bucket" {
  description = "The bucket's name; unique in all of AWS."
  type        = string
}

variable "oidc_provider_arn" {
  description = "The cluster's IAM OIDC provider."
  type        = string
}

variable "auditor_role_arn" {
  description = "Who verifies."
  type        = string
}

variable "access_log_bucket" {
  description = "Where S3's server access logs go; null: nowhere."
  type        = string
  default     = null
}

provider "aws" {
  region = var.region
}

module "audit_bucket" {
  source = "../.."

  bucket            = var.bucket
  lock_mode         = "COMPLIANCE"
  retention_days    = 365
  expire_after_days = 730

  writer = {
    oidc = {
      provider_arn = var.oidc_provider_arn
      subjects     = ["system:serviceaccount:sallyport:sallyport"] # namespace:service account
    }
  }

  reader_role_arns  = [var.auditor_role_arn]
  access_log_bucket = var.access_log_bucket
  tags              = { application = "sallyport" }
}

output "sallyport_yaml" {
  description = "Into Sallyport's configuration: terraform output -raw sallyport_yaml."
  value       = yamlencode({ audit = module.audit_bucket.audit })
}

output "service_account_annotation" {
  description = "Of the service account that Sallyport's pods run with."
  value       = { "eks.amazonaws.com/role-arn" = module.audit_bucket.writer_role_arn }
}

output "reader_role_arn" {
  description = "The role for `sallyport audit verify`."
  value       = module.audit_bucket.reader_role_arn
}
